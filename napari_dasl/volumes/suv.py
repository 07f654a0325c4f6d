"""Standardised uptake value by body weight (SUVbw) from the tags of a PET series.

SUVbw = activity concentration [Bq/ml] × body weight [g] / injected activity, decayed to the start of the scan [Bq]

after the vendor-neutral procedure of QIBA (*SUV calculation*, qibawiki.rsna.org, "happy path" and its exceptions) and
the DICOM PET module (PS3.3 C.8.9). One gram of tissue is taken as one millilitre.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import VolumeError
from napari_dasl.volumes.dicom_header import DAMAGE, damaged
from napari_dasl.volumes.extras import quiet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_dasl.volumes.dicom_header import Header

_HINT = "Complete the tags, or convert the series to SUV with the scanner's software and give it as NIfTI."


def suv_factor(headers: Sequence[Header], where: Path) -> tuple[float, tuple[str, ...]]:
    """What rescaled PET values are multiplied by to give SUVbw.

    Parameters
    ----------
    headers : sequence of Header
        Of all files of the series.
    where : pathlib.Path
        The folder or file, for messages.

    Returns
    -------
    float
        SUVbw per unit of the rescaled value (for BQML: ml/Bq).
    tuple of str
        What was noticed and forgiven.

    Raises
    ------
    VolumeError
        Units other than BQML, GML or Philips' CNTS, or a missing weight, dose, half-life or time.
    """
    try:
        with quiet():
            return _factor(headers, where)
    except DAMAGE as error:
        raise damaged(where, error) from error


def decayed(dose: float, seconds: float, half_life: float) -> float:
    """Activity that is left.

    Parameters
    ----------
    dose : float
        Activity at the start, in Bq.
    seconds : float
        Time gone by.
    half_life : float
        In seconds.

    Returns
    -------
    float
        dose × 2^(−seconds / half-life), in Bq.
    """
    return float(dose * 2.0 ** (-seconds / half_life))


def _factor(headers: Sequence[Header], where: Path) -> tuple[float, tuple[str, ...]]:
    dataset = headers[0].dataset
    notes = []
    corrected = dataset.get("CorrectedImage") or ()
    if corrected and "ATTN" not in corrected:
        notes.append("This PET series is not corrected for attenuation; its SUV is not comparable with others.")
    units = str(dataset.get("Units") or "")
    if units == "GML" and str(dataset.get("SUVType") or "BW") == "BW":
        return 1.0, tuple(notes)
    scale = 1.0
    if units == "CNTS":  # Philips: a private factor to SUVbw, or one to Bq/ml
        to_suv, to_activity = (_private(dataset, element) for element in (0x1000, 0x1009))
        if to_suv:
            return to_suv, tuple(notes)
        scale, units = (to_activity, "BQML") if to_activity else (1.0, units)
    if units != "BQML":
        kind = f" of type {dataset.get('SUVType')}" if units == "GML" else ""
        raise VolumeError(
            f"The PET series in {where} has values in {units or 'unknown units'}{kind}, not Bq/ml.", _HINT
        )
    weight = float(dataset.get("PatientWeight") or 0)
    tracer = (dataset.get("RadiopharmaceuticalInformationSequence") or [{}])[0]
    dose = float(tracer.get("RadionuclideTotalDose") or 0)
    half_life = float(tracer.get("RadionuclideHalfLife") or 0)
    needed = {"the patient's weight": weight, "the injected dose": dose, "the half-life": half_life}
    missing = [name for name, value in needed.items() if value <= 0]
    if missing:
        raise VolumeError(
            f"SUV cannot be computed for the PET series in {where}: {', '.join(missing)} is missing.", _HINT
        )
    if dose < 1e5:  # a known export error: nobody is injected with a tenth of a megabecquerel
        dose *= 1e6
        notes.append(f"The injected dose was read as {dose / 1e6:.4g} MBq; DICOM asks for Bq.")
    correction = str(dataset.get("DecayCorrection") or "")
    if correction == "ADMIN":
        return scale * weight * 1000 / dose, tuple(notes)
    if correction != "START":
        raise VolumeError(
            f"SUV cannot be computed for the PET series in {where}: its decay correction is {correction or 'unknown'},"
            " not START or ADMIN.",
            _HINT,
        )
    start, more = _scan_start(headers, where)
    seconds, even_more = _elapsed(tracer, start, half_life, where)
    factor = scale * weight * 1000 / decayed(dose, seconds, half_life)
    return factor, (*notes, *more, *even_more)


def _scan_start(headers: Sequence[Header], where: Path) -> tuple[datetime, list[str]]:
    """The time that the values are decay-corrected to.

    This is the series time, unless some software gave the series the time of a later processing: then GE's private scan
    time, or the earliest acquisition.
    """
    dataset = headers[0].dataset
    acquired = [when for header in headers if (when := _moment(header.dataset, "Acquisition")) is not None]
    series = _moment(dataset, "Series")
    if series is not None and (not acquired or series <= min(acquired)):
        return series, []
    private = dataset.get((0x0009, 0x100D))
    if private is not None and str(dataset.get("Manufacturer") or "").startswith("GE"):
        when = _parse(_text(private.value))
        if when is not None:
            return when, []
    if not acquired:
        raise VolumeError(
            f"SUV cannot be computed for the PET series in {where}: the time of the scan is missing.", _HINT
        )
    return min(acquired), [
        "The series time lies after the first acquisition; the decay is counted to that acquisition."
    ]


def _elapsed(tracer: Any, start: datetime, half_life: float, where: Path) -> tuple[float, list[str]]:
    """Seconds from injection to the start of the scan."""
    injected = _parse(str(tracer.get("RadiopharmaceuticalStartDateTime") or ""))
    if injected is not None and 0 <= (start - injected).total_seconds() <= 10 * half_life:
        return (start - injected).total_seconds(), []
    clock = str(tracer.get("RadiopharmaceuticalStartTime") or "") or (f"{injected:%H%M%S.%f}" if injected else "")
    if not clock:
        raise VolumeError(
            f"SUV cannot be computed for the PET series in {where}: the injection time is missing.", _HINT
        )
    when = _parse(f"{start:%Y%m%d}{clock}")
    if when is None:
        raise VolumeError(f"The PET series in {where} has an injection time that is no time: {clock}.", _HINT)
    if when > start:
        when -= timedelta(days=1)  # injected before midnight
    seconds = (start - when).total_seconds()
    if seconds > 10 * half_life:
        raise VolumeError(
            f"The PET series in {where} would begin {seconds / 3600:.1f} h after the injection: over ten half-lives.",
            "Its times are wrong. " + _HINT,
        )
    notes = ["The injection date does not fit the scan; only its time of day was used."] if injected else []
    return seconds, notes


def _moment(dataset: Any, what: str) -> datetime | None:
    """Date and time of "Series" or "Acquisition"."""
    date, time = str(dataset.get(f"{what}Date") or ""), str(dataset.get(f"{what}Time") or "")
    return _parse(date + time) if date and time else _parse(str(dataset.get(f"{what}DateTime") or ""))


def _parse(text: str) -> datetime | None:
    """A DICOM date and time, YYYYMMDDHHMMSS.ffffff with or without the fraction and a time zone, or None.

    The zone is dropped: all times of one series are in the clock of its scanner.
    """
    body = text.strip().replace(":", "").split("+")[0].split("-")[0]
    whole, _, fraction = body.partition(".")
    try:
        moment = datetime.strptime(whole.ljust(14, "0"), "%Y%m%d%H%M%S") if len(whole) >= 10 else None
    except ValueError:
        return None
    if moment is None or not fraction.isdigit():
        return moment
    return moment + timedelta(seconds=float(f"0.{fraction}"))


def _private(dataset: Any, element: int) -> float:
    """A factor in Philips' private group, 0.0 where it is missing or empty."""
    found = dataset.get((0x7053, element))
    try:
        return float(_text(found.value)) if found is not None else 0.0
    except ValueError:
        return 0.0


def _text(value: Any) -> str:
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value)
