"""Which grey-value window each channel has, so that one's habit stays from case to case. Plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_dasl.widgets.window_presets import Preset, first_of, presets_for, relative_position

if TYPE_CHECKING:
    from napari_dasl.widgets.display_cache import Channel

Limits = tuple[float, float]


@dataclass
class _Habit:
    presets: tuple[Preset, ...]
    place: int = 0
    own: Limits | None = None
    """A window made by hand: in HU or SUV, or relative to the scan's range where the presets are."""
    given: Limits | None = None
    span: Limits = (0.0, 1.0)


class Windowing:
    """The windows of all channels, by channel name."""

    def __init__(self) -> None:
        self._habits: dict[str, _Habit] = {}

    def limits(self, channel: Channel) -> Limits:
        """Return the contrast limits to show *channel* with."""
        habit = self._habits.get(channel.name)
        presets = presets_for(channel.modality, channel.unit, channel.span[1])
        if habit is None or habit.presets != presets:
            habit = self._habits[channel.name] = _Habit(presets, first_of(presets, channel.array))
        habit.span = channel.span
        preset = presets[habit.place]
        if habit.own is None:
            habit.given = preset.limits(channel.span)
        elif preset.relative:
            habit.given = Preset("", *habit.own, relative=True).limits(channel.span)
        else:
            habit.given = habit.own
        return habit.given

    def remember(self, name: str, limits: Limits) -> None:
        """Take note of the limits on the screen: where somebody moved them, they are kept for the next case."""
        habit = self._habits.get(name)
        if habit is None or habit.given is None:
            return
        width = abs(habit.given[1] - habit.given[0]) or 1.0
        if max(abs(limits[0] - habit.given[0]), abs(limits[1] - habit.given[1])) > 1e-3 * width:
            relative = habit.presets[habit.place].relative
            habit.own = relative_position(limits, habit.span) if relative else (float(limits[0]), float(limits[1]))
            habit.given = (float(limits[0]), float(limits[1]))

    def next(self, channel: Channel) -> Preset:
        """Go on to the next preset of *channel*; a window made by hand goes back to the preset it came from."""
        self.limits(channel)
        habit = self._habits[channel.name]
        if habit.own is not None:
            habit.own = None
        else:
            habit.place = (habit.place + 1) % len(habit.presets)
        return habit.presets[habit.place]

    def preset(self, channel: Channel) -> Preset:
        """Return the preset in force (also under a window made by hand)."""
        self.limits(channel)
        habit = self._habits[channel.name]
        return habit.presets[habit.place]

    def words(self, channel: Channel) -> str:
        """Return the window in words, such as ``lung W1500 L-600``."""
        preset = self.preset(channel)
        habit = self._habits[channel.name]
        if habit.own is None or habit.given is None:
            return preset.label()
        low, high = habit.given
        return f"own window W{high - low:.4g} L{(high + low) / 2:.4g}"
