"""Predictions: what a model said about a case, stored so that one axial slice can be read without the rest.

``predictions/<model>/<case>/`` holds ``maps.zarr`` (zarr v3: *probability* (K-1, z, y, x) float16 of the foreground
classes, *label* (z, y, x), and *instances* (z, y, x) uint16 where the lesions are told apart), ``signature.npy``,
``scores.json`` and, with *instances*, ``instances.json``: one entry per lesion, those below the threshold too. Each
class is one sharded file whose inner chunks are axial slices. A prediction appears whole, by renaming its folder, or
not at all.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_dasl.errors import LabelError, StorageError
from napari_dasl.project import instances as lesions
from napari_dasl.project.store import encode, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.project.instances import Instance

FOLDER = "predictions"
INSTANCES = "instances.json"
_TEMPORARY = ".part-"
_STEPS = 2048
"""Probabilities are rounded to these steps: float16 is no finer above 0.5, and noise near 0 would not compress."""


@dataclass(frozen=True)
class Prediction:
    """A stored prediction; its maps are read when they are asked for.

    Attributes
    ----------
    case, model : str
        Whose it is.
    created : datetime
        UTC.
    scores : dict
        What the engine measured on the float32 probabilities, such as ``uncertainty``.
    folder : Path
        ``predictions/<model>/<case>``.
    spacing : (float, float, float)
        (sz, sy, sx) of the case in mm; lesions of predictions that were stored without them are measured with it.
    """

    case: str
    model: str
    created: datetime
    scores: dict[str, Any]
    folder: Path
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def probability(self) -> NDArray[np.float32]:
        """Probability of each foreground class, (K-1, z, y, x) float32 in [0, 1]."""
        return np.asarray(self._whole("probability"), dtype=np.float32)

    def label(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Most probable class per voxel, (z, y, x); 0 is background."""
        return cast("NDArray[np.uint8]", self._whole("label"))

    def uncertainty(self) -> NDArray[np.float32]:
        """Least confidence per voxel, 1 − max_c p, (z, y, x) float32 (Settles 2009; c runs over background too)."""
        foreground = self.probability()
        best = foreground.max(axis=0)
        np.maximum(best, 1.0 - foreground.sum(axis=0), out=best)
        return cast("NDArray[np.float32]", np.clip(1.0 - best, 0.0, 1.0, out=best))

    def instances(self) -> tuple[Instance, ...]:
        """Lesions one by one, by rising id, those below the network's threshold too.

        A prediction that was stored without them has the connected components of its label map, at most the
        `instances.MOST_FINDINGS` largest, each with the mean probability of its class as its score.
        """
        try:
            text = (self.folder / INSTANCES).read_text(encoding="utf-8")
        except FileNotFoundError:
            return self._components()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(self.folder, error) from error
        try:
            return tuple(lesions.from_dict(one) for one in json.loads(text)["instances"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(self.folder, error) from error

    def instance_map(self, *, kept: bool = False) -> NDArray[np.uint16]:
        """Id of the lesion at each voxel, (z, y, x); 0 is none. With *kept*, only of those in the label map."""
        if not (self.folder / INSTANCES).exists():
            return cast("NDArray[np.uint16]", lesions.number_lesions(self.label(), lesions.MOST_FINDINGS)[0])
        ids = cast("NDArray[np.uint16]", self._whole("instances"))
        if kept and (dropped := [one.id for one in self.instances() if not one.kept]):
            table = np.arange(lesions.HIGHEST_ID + 1, dtype=np.uint16)
            table[dropped] = 0
            return table[ids]
        return ids

    def signature(self) -> NDArray[np.float32]:
        """Signature vector, (F,) float32."""
        try:
            return cast("NDArray[np.float32]", np.load(self.folder / "signature.npy", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(self.folder, error) from error

    def lazy(self, name: str) -> Any:
        """Open the zarr array of ``probability``, ``label`` or ``instances``, for reading single slices."""
        import zarr

        try:
            return zarr.open_array(self.folder / "maps.zarr" / name, mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(self.folder, error) from error

    def _components(self) -> tuple[Instance, ...]:
        ids, classes = lesions.number_lesions(self.label(), lesions.MOST_FINDINGS)
        return lesions.describe(ids, classes, mean_scores(ids, classes, self.probability()), self.spacing)

    def _whole(self, name: str) -> Any:
        array = self.lazy(name)
        # zarr fills what is missing with zeros; a lost shard must not pass for "no lesion".
        found = sum(path.is_file() for path in (self.folder / "maps.zarr" / name / "c").rglob("*"))
        if found < array.attrs["stored"]:
            raise _damaged(self.folder, FileNotFoundError(f"the voxels of {name} are missing"))
        try:
            return array[...]
        except (OSError, ValueError, RuntimeError) as error:
            raise _damaged(self.folder, error) from error


def mean_scores(ids: NDArray[Any], classes: Mapping[int, int], foreground: NDArray[Any]) -> dict[int, float]:
    """Mean probability of its own class over each lesion: the score of a network that finds no lesions one by one.

    Parameters
    ----------
    ids : array (z, y, x)
        Id map.
    classes : mapping of int to int
        Class of each id, from 1.
    foreground : array (K-1, z, y, x)
        Probabilities without background.
    """
    scores: dict[int, float] = {}
    for value in sorted(set(classes.values())):
        own = [number for number, label in classes.items() if label == value]
        inside = np.isin(ids, own)
        numbers = ids[inside].astype(np.intp)
        weights = foreground[value - 1][inside].astype(np.float64)
        sums, counts = np.bincount(numbers, weights), np.bincount(numbers)
        scores.update({number: float(sums[number] / counts[number]) for number in own})
    return scores


def write(
    folder: Path,
    case_id: str,
    model_id: str,
    probability: NDArray[Any],
    signature: NDArray[Any],
    scores: Mapping[str, Any],
    instances: Sequence[Instance] | None = None,
    ids: NDArray[Any] | None = None,
) -> None:
    """Store a prediction in the project *folder*, in place of an older one of the same model.

    Parameters
    ----------
    folder : Path
        The project folder.
    case_id, model_id : str
        Whose prediction it is.
    probability : array (K, z, y, x)
        With background as channel 0; sums to 1 over K.
    signature : array (F,)
        Stored as float32.
    scores : mapping
        JSON values.
    instances : sequence of Instance, optional
        Its lesions one by one; with *ids* or not at all.
    ids : array (z, y, x), optional
        Id of the lesion at each voxel; stored as uint16.

    Raises
    ------
    LabelError
        *probability* is not what it should be, or *ids* and *instances* do not belong together.
    StorageError
        It could not be stored; an older prediction is untouched.
    """
    from napari_dasl.volumes.atomic import storage_error, sweep

    _check(probability, case_id)
    _check_instances(instances, ids, probability.shape, case_id)
    note = encode({"created": now().isoformat(), "scores": dict(scores)})
    vector = np.asarray(signature, dtype=np.float32)
    home = folder / FOLDER / model_id
    target = home / case_id
    temporary = home / f"{_TEMPORARY}{secrets.token_hex(4)}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        sweep(home, _TEMPORARY)
        temporary.mkdir()
        _write_maps(temporary / "maps.zarr", probability, ids)
        if instances is not None:
            listed = encode({"instances": [one.as_dict() for one in instances]})
            (temporary / INSTANCES).write_text(listed, encoding="utf-8")
        np.save(temporary / "signature.npy", vector, allow_pickle=False)
        (temporary / "scores.json").write_text(note, encoding="utf-8")
        _publish(temporary, target)
    except OSError as error:
        raise storage_error(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def find(folder: Path, case_id: str, model_id: str) -> Prediction | None:
    """Open the prediction of *model_id* for a case; None where there is none, StorageError where it is damaged."""
    home = folder / FOLDER / model_id / case_id
    try:
        note = json.loads((home / "scores.json").read_text(encoding="utf-8"))
        created = datetime.fromisoformat(note["created"])
        return Prediction(case=case_id, model=model_id, created=created, scores=dict(note["scores"]), folder=home)
    except FileNotFoundError:
        if not home.is_dir():
            return None
        raise _damaged(home, FileNotFoundError("scores.json is missing")) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(home, error) from error


def lost(folder: Path, case_id: str, model_id: str) -> StorageError:
    """Say that a prediction which the project relies on is gone."""
    return _damaged(folder / FOLDER / model_id / case_id, FileNotFoundError("it is missing"))


def predicted(folder: Path, model_id: str) -> frozenset[str]:
    """Ids of the cases that *model_id* predicted."""
    try:
        return frozenset(n for n in os.listdir(folder / FOLDER / model_id) if not n.startswith("."))
    except FileNotFoundError:
        return frozenset()


def _check(probability: NDArray[Any], case_id: str) -> None:
    if probability.ndim != 4 or probability.shape[0] < 2 or not np.issubdtype(probability.dtype, np.floating):
        raise LabelError(
            f"The prediction of {case_id} is {probability.dtype} {probability.shape}, not a probability (K, z, y, x).",
            "Give one channel per class, background first.",
        )
    if not np.isfinite(probability).all():
        raise LabelError(
            f"The prediction of {case_id} holds values that are not numbers.", "The model diverged; train anew."
        )


def _check_instances(
    instances: Sequence[Instance] | None, ids: NDArray[Any] | None, shape: tuple[int, ...], case_id: str
) -> None:
    if instances is None and ids is None:
        return
    if instances is None or ids is None:
        raise LabelError(f"The findings of {case_id} came without their map, or the map without them.", "Give both.")
    if ids.shape != shape[1:] or ids.dtype.kind not in "ui":
        raise LabelError(
            f"The map of the findings of {case_id} is {ids.dtype} {ids.shape}, not whole numbers {shape[1:]}.",
            "Give the id of the finding at each voxel of the scan.",
        )
    known = [one.id for one in instances]
    if len(set(known)) < len(known) or not all(1 <= number <= lesions.HIGHEST_ID for number in known):
        raise LabelError(
            f"The findings of {case_id} have ids that are twice there or not from 1 to {lesions.HIGHEST_ID}.",
            "Number them from 1.",
        )
    stray = np.setdiff1d(np.unique(ids[ids != 0]), known)
    if stray.size:
        raise LabelError(f"The map of the findings of {case_id} holds {stray[0]}, which is none of them.", "Give both.")


def _write_maps(path: Path, probability: NDArray[Any], ids: NDArray[Any] | None) -> None:
    """One shard per class, inner chunks of one axial slice: few files, and a slice is one read."""
    import zarr
    from zarr.codecs import BloscCodec

    classes = probability.shape[0]
    label = probability.argmax(axis=0).astype(np.uint8 if classes <= 256 else np.uint16)
    maps: dict[str, NDArray[Any]] = {"label": label, "probability": _rounded(probability[1:])}
    if ids is not None:
        maps["instances"] = ids.astype(np.uint16)
    group = zarr.create_group(path, zarr_format=3)
    for name, values in maps.items():
        lead = (1,) * (values.ndim - 3)
        stored = int(values.any(axis=(-3, -2, -1)).sum())  # zarr writes no file for a class that is zero everywhere
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(*lead, 1, *values.shape[-2:]),
            shards=(*lead, *values.shape[-3:]),
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=values.dtype.itemsize),
            dimension_names=("class", "z", "y", "x")[-values.ndim :],
            attributes={"stored": stored},
        )
        array[...] = values


def _rounded(foreground: NDArray[Any]) -> NDArray[np.float16]:
    """Clip to [0, 1] and round to 1/2048, class by class so that memory stays at one float32 map."""
    result = np.empty(foreground.shape, dtype=np.float16)
    for index, values in enumerate(foreground):
        result[index] = np.rint(np.clip(values, 0, 1, dtype=np.float32) * _STEPS) / _STEPS
    return result


def _publish(temporary: Path, target: Path) -> None:
    """Force the files to disk and give the folder its name; an older prediction steps aside first."""
    for path in temporary.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDWR)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    aside = target.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}")
    if target.exists():
        os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except OSError:
        if aside.exists():
            os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _damaged(folder: Path, error: Exception) -> StorageError:
    return StorageError(f"The prediction {folder} is damaged: {error}.", "Predict this case again.")
