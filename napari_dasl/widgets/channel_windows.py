"""The grey-value windows on the screen: the habits of :mod:`napari_dasl.widgets.windowing` on their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dasl.widgets.new_layers import dress_channel
from napari_dasl.widgets.windowing import Windowing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from napari_dasl.widgets.display_cache import Channel
    from napari_dasl.widgets.layer_stack import LayerStack


class ChannelWindows:
    """Gives the layers of the channels their windows, and remembers those that somebody made by hand.

    Parameters
    ----------
    layers : LayerStack
        Which has the channels as ``channel 0``, ``channel 1`` ….
    swap : callable
        Returns a context in which changes are not taken for somebody's wish.
    """

    def __init__(self, layers: LayerStack, swap: Callable[[], AbstractContextManager[None]]) -> None:
        self._layers = layers
        self._swap = swap
        self._windowing = Windowing()

    def apply(self, number: int, channel: Channel) -> None:
        """Show the *number*-th channel in its window."""
        limits, preset = self._windowing.limits(channel), self._windowing.preset(channel)
        with self._swap():
            dress_channel(self._layers[f"channel {number}"], channel, limits, preset.colormap, fused=number > 0)

    def remember(self, channels: Sequence[Channel]) -> None:
        """Take note of the windows on the screen."""
        for number, channel in enumerate(channels):
            self._windowing.remember(channel.name, tuple(self._layers[f"channel {number}"].contrast_limits))

    def next(self, channels: Sequence[Channel], active: Any) -> str:
        """Go on to the next window of the channel whose layer is *active*, else the reference; return it in words."""
        places = [place for place in range(len(channels)) if active == self._layers[f"channel {place}"]]
        number = places[-1] if places else 0
        self._windowing.next(channels[number])
        self.apply(number, channels[number])
        return self.words(channels[number])

    def words(self, channel: Channel) -> str:
        """Return the window of *channel* in words, such as ``lung W1500 L-600``."""
        return self._windowing.words(channel)
