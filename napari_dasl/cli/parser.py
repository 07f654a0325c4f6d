"""The words of the command line: verbs, their arguments, and an example of each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from napari_dasl import __version__, experiments
from napari_dasl.cli import (
    desk_verbs,
    difficulty_verbs,
    experiment_verbs,
    finding_verbs,
    project_verbs,
    pseudo_verbs,
    report_verbs,
    simulate_verbs,
    work_verbs,
)
from napari_dasl.curriculum import SCORERS
from napari_dasl.errors import InputError
from napari_dasl.networks.families import FAMILIES
from napari_dasl.project import presets

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_dasl.cli.console import Output

    Verb = Callable[[argparse.Namespace, Output], None]


class UsageError(InputError):
    """The words of the call are wrong."""


class _Parser(argparse.ArgumentParser):
    """A parser that answers a wrong call with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"`{self.prog} --help` shows an example.")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every verb; ``args.run(args, output)`` does the work."""
    parser = _Parser(prog="napari-dasl", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.description = "Label CT, PET and MRI scans while a network learns beside you."
    parser.add_argument("--version", action="version", version=f"napari-dasl {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    _project_verbs(verbs)
    _label_verbs(verbs)
    _round_verb(verbs)
    _review_verbs(verbs)
    _predict_verbs(verbs)
    _evaluate_verb(verbs)
    _simulate_verb(verbs)
    _experiment_verb(verbs)
    _desk_verbs(verbs)
    return parser


def _add(verbs: Any, name: str, run: Verb, does: str, example: str, *, project: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=does,
        description=f"{does[:1].upper()}{does[1:]}.",
        epilog=f"Example:\n  napari-dasl {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout, nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress and no log lines on stderr")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if project:
        parser.add_argument("project", type=Path, metavar="PROJECT", help="the project folder")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share between 0 and 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _project_verbs(verbs: Any) -> None:
    init = _add(
        verbs,
        "init",
        project_verbs.init,
        "make a project from a folder of scans",
        "init my-study --images scans --labels labels --modality CT --classes nodule --annotated 24 --seed 0",
    )
    init.add_argument("--images", type=Path, required=True, metavar="DIR", help="NIfTI, NRRD, MHA or DICOM series")
    init.add_argument("--labels", type=Path, metavar="DIR", help="masks with the names of their scans")
    init.add_argument("--modality", choices=("CT", "PET", "MR"), required=True)
    init.add_argument("--classes", type=_names, metavar="NAME,NAME", help="names of the labels 1, 2, …")
    init.add_argument(
        "--network", choices=tuple(FAMILIES), help="the network to train (default: the preset's, else unet)"
    )
    init.add_argument(
        "--instances", action="store_true", help="the values of the masks number the lesions of the one class"
    )
    init.add_argument(
        "--preset",
        choices=presets.names(),
        default="default",
        help="network, curriculum and other settings to start from (default: default)",
    )
    chosen = init.add_mutually_exclusive_group()
    chosen.add_argument("--annotated", type=int, metavar="N", help="import the labels of N cases (default: all)")
    chosen.add_argument(
        "--annotated-list", type=Path, metavar="FILE", help="import the labels of these cases, one a line"
    )
    init.add_argument(
        "--guard", type=_share, default=0.15, metavar="F", help="share of labelled cases held back (0.15)"
    )
    init.add_argument("--seed", type=int, default=0, metavar="S", help="every random choice follows from it (0)")
    init.add_argument(
        "--copy", action="store_true", help="copy the scans into the project instead of referring to them"
    )

    add = _add(verbs, "add", project_verbs.add, "add scans to a project", "add my-study new-scans/P-014.nii.gz")
    add.add_argument("paths", type=Path, nargs="+", metavar="PATH")

    _add(
        verbs, "status", project_verbs.status, "show cases by state, the active model and the rounds", "status my-study"
    )

    _add(
        verbs, "models", project_verbs.models, "list the models with their lineage and guard figures", "models my-study"
    )
    use = _add(verbs, "use", project_verbs.use, "make a model active again", "use my-study r0001-3f2a9c")
    use.add_argument("model", metavar="MODEL")

    export = _add(
        verbs,
        "export",
        project_verbs.export,
        "hand labels or predictions on, on the grid of each scan",
        "export my-study masks --what labels --format nifti",
    )
    export.add_argument("out", type=Path, metavar="OUT")
    export.add_argument("--what", choices=("labels", "predictions"), default="labels")
    export.add_argument("--format", choices=("nifti", "nnunet", "dicom-seg"), default="nifti")


def _label_verbs(verbs: Any) -> None:
    label = _add(
        verbs,
        "label",
        project_verbs.label,
        "record a mask as the human label of a case, as a new revision",
        "label my-study P-014 P-014-mask.nii.gz --author ann --seconds 125",
    )
    label.add_argument("case", metavar="CASE")
    label.add_argument("mask", type=Path, metavar="MASK")
    label.add_argument("--author", help="who drew it (default: the user of this machine)")
    label.add_argument("--seconds", type=float, default=0.0, metavar="S", help="active time spent on it")

    labels = _add(verbs, "labels", project_verbs.labels, "list the label revisions of a case", "labels my-study P-014")
    labels.add_argument("case", metavar="CASE")

    restore = _add(
        verbs, "restore", project_verbs.restore, "bring a label revision back, as a new one", "restore my-study P-014 2"
    )
    restore.add_argument("case", metavar="CASE")
    restore.add_argument("revision", type=int, metavar="REVISION")
    restore.add_argument("--author", help="who restores it (default: the user of this machine)")


def _round_verb(verbs: Any) -> None:
    fit = _add(
        verbs,
        "round",
        work_verbs.round_,
        "train on the labelled scans, compare on the guard set, predict and rank the others",
        "round my-study --minutes 5",
    )
    fit.add_argument(
        "--phase",
        choices=("auto", "spl", "al"),
        default="auto",
        help="spl: with pseudo-labels; al: human labels only; auto: the next of the project's phases (default)",
    )
    fit.add_argument(
        "--curriculum",
        choices=presets.names(),
        default="",
        help="follow the order, pacing, stages and recipe of this preset for once, with the project's own network",
    )
    length = fit.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_count, metavar="N", help="passes over the labelled scans")
    length.add_argument("--steps", type=_count, metavar="N", help="optimiser steps")
    length.add_argument("--minutes", type=_positive, metavar="M", help="minutes of training")
    fit.add_argument(
        "--from",
        dest="start",
        choices=("project", "scratch", "active"),
        default="project",
        help="initial weights (default: as project.toml says)",
    )
    fit.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    fit.add_argument(
        "--seed", type=int, metavar="S", help="seed of this round (default: the project's plus its number)"
    )
    fit.add_argument("--no-predict", action="store_true", help="train and compare only")
    fit.add_argument("--resume", action="store_true", help="go on with the round that was interrupted")


def _review_verbs(verbs: Any) -> None:
    review = _add(
        verbs,
        "pseudo",
        pseudo_verbs.pseudo,
        "list the pseudo-labels; accept or reject them; switch them on or off",
        "pseudo my-study --reject P-014",
    )
    change = review.add_mutually_exclusive_group()
    change.add_argument("--accept", nargs="+", metavar="CASE", help="make each the human label of its case")
    change.add_argument("--reject", nargs="+", metavar="CASE", help="never take a pseudo-label of these cases again")
    change.add_argument("--allow", nargs="+", metavar="CASE", help="undo a rejection")
    change.add_argument("--on", dest="switch", action="store_true", default=None, help="rounds may take pseudo-labels")
    change.add_argument("--off", dest="switch", action="store_false", default=None, help="rounds take none")
    review.add_argument("--author", help="who decides (default: the user of this machine)")

    found = _add(
        verbs,
        "findings",
        finding_verbs.findings,
        "list what a model found in a case, one row a finding; accept or reject findings",
        "findings my-study P-014 --reject 3",
    )
    found.epilog = f"{found.epilog}\n\n{finding_verbs.FRAMES}"
    found.add_argument("case", metavar="CASE")
    verdict = found.add_mutually_exclusive_group()
    verdict.add_argument("--accept", dest="accepted", nargs="+", type=_count, metavar="ID", help="these are lesions")
    verdict.add_argument("--reject", dest="rejected", nargs="+", type=_count, metavar="ID", help="these are no lesions")
    verdict.add_argument("--clear", dest="cleared", nargs="+", type=_count, metavar="ID", help="take the verdicts back")
    found.add_argument("--model", metavar="MODEL", help="of another model than the active one")
    found.add_argument("--all", action="store_true", help="list findings below the threshold of the model too")
    found.add_argument("--author", help="who decides (default: the user of this machine)")


def _predict_verbs(verbs: Any) -> None:
    predict = _add(
        verbs, "predict", work_verbs.predict, "predict the unlabelled scans with the active model", "predict my-study"
    )
    predict.add_argument("--cases", nargs="+", metavar="CASE", help="only these cases")
    predict.add_argument("--all", action="store_true", help="every readable case but the guard set, and again")
    predict.add_argument(
        "--for", dest="strategy", metavar="STRATEGY", help="measure what this ranking strategy goes by; see `rank`"
    )
    predict.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")

    rank = _add(
        verbs,
        "rank",
        work_verbs.rank,
        "list the unlabelled scans, the one worth labelling next first",
        "rank my-study --top 8",
    )
    rank.add_argument(
        "--by",
        metavar="STRATEGY",
        help="default, dasl, uncertainty, power, k-centre, bald, disagreement, clasp-pe, random-foreground or random "
        "(default: the project's); or difficulty, the hardest first",
    )
    scorers = tuple(SCORERS)
    rank.add_argument("--scorer", choices=scorers, help="of --by difficulty (default: the project's, else size)")
    rank.add_argument("--top", type=_count, metavar="N", help="only the first N")

    hard = _add(
        verbs,
        "difficulty",
        difficulty_verbs.list_difficulties,
        "measure how hard the cases are to outline, and list them, the hardest first",
        "difficulty my-study --scorer contrast size",
    )
    names = f"{', '.join(scorers)} (default: all but bootstrapping and gradient, which train networks to find out)"
    hard.add_argument("--scorer", nargs="+", action="extend", choices=scorers, metavar="NAME", help=names)
    hard.add_argument("--device", help="where to train: auto, cpu, cuda, cuda:1 (default: the project's)")


def _evaluate_verb(verbs: Any) -> None:
    evaluate = _add(
        verbs,
        "evaluate",
        work_verbs.evaluate,
        "compare the active model with the truth",
        "evaluate my-study --images test/images --truth test/labels",
    )
    evaluate.add_argument("--images", type=Path, metavar="DIR", help="scans outside the project; needs --truth")
    evaluate.add_argument("--truth", type=Path, metavar="DIR", help="masks with the names of the scans")
    evaluate.add_argument(
        "--split",
        choices=("guard", "all", "pool"),
        help="guard: the guard set; all: every labelled case; pool: the unlabelled cases, against --truth",
    )
    evaluate.add_argument("--model", metavar="MODEL", help="another model than the active one")
    evaluate.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")


def _simulate_verb(verbs: Any) -> None:
    play = _add(
        verbs,
        "simulate",
        simulate_verbs.simulate,
        "replay labelling and training with the truth as annotator, and compare strategies",
        "simulate my-study --truth labels --strategy default random --initial 8 --query 8 --rounds 4 --seeds 5",
    )
    play.add_argument("--truth", type=Path, required=True, metavar="DIR", help="masks with the names of the scans")
    play.add_argument("--test-images", type=Path, metavar="DIR", help="test scans (default: the guard set is the test)")
    play.add_argument("--test-labels", type=Path, metavar="DIR", help="their masks")
    play.add_argument(
        "--test-list", type=Path, metavar="FILE", help="cases of the project that are the test, one a line"
    )
    play.add_argument(
        "--strategy",
        nargs="+",
        action="extend",
        required=True,
        metavar="NAME",
        help="what to compare, such as dasl, dasl@beta=0, default@network=nodule-rcnn or "
        "random@phases=spl-al-spl@control=steps",
    )
    play.add_argument(
        "--initial", type=_count, required=True, metavar="N", help="cases labelled before the first round"
    )
    play.add_argument("--query", type=_count, required=True, metavar="N", help="cases the annotator labels per round")
    play.add_argument("--rounds", type=_count, required=True, metavar="K", help="how often the annotator is asked")
    play.add_argument("--seeds", default="1", metavar="S", help="how many repetitions, or which, such as 3,7 (1)")
    play.add_argument("--phases", type=_names, metavar="P,P", help="one pass, such as spl,al,spl (default: al alone)")
    play.add_argument("--network", choices=tuple(FAMILIES), help="the network to train (the project's)")
    play.add_argument("--steps", type=_count, metavar="N", help="optimiser steps of every training (the plan's)")
    play.add_argument("--batch", type=_count, metavar="N", help="patches per step (the plan's)")
    play.add_argument("--beta", type=float, metavar="B", help="exponent of the similarity (the project's)")
    play.add_argument(
        "--guard", type=int, metavar="N", help="how many initial cases judge models; they count as annotated"
    )
    play.add_argument("--from", dest="start", choices=("scratch", "active"), default="active", help="initial weights")
    play.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    play.add_argument("--jobs", type=_count, metavar="N", help="runs side by side (default: the free cores)")
    play.add_argument(
        "--careless", nargs="+", metavar="KEY=SHARE", help="spoil answers: shifted=0.3 missing=0.1 swapped=0.1 since=1"
    )
    play.add_argument("--keep", action="store_true", help="keep the predictions of older models")
    play.add_argument("--out", type=Path, metavar="DIR", help="write curves.csv and result.json here too")


def _experiment_verb(verbs: Any) -> None:
    play = _add(
        verbs,
        "experiment",
        experiment_verbs.experiment,
        "make a comparison of one of the papers again, on your scans",
        "experiment patch-growth --data scans --modality MR --out patch-growth --seeds 3 --steps 1000",
        project=False,
    )
    play.add_argument("name", choices=experiments.NAMES, metavar="NAME", help=", ".join(experiments.NAMES))
    play.add_argument("--data", required=True, metavar="DIR", help="scans with labels; or phantoms, to have some made")
    play.add_argument("--out", type=Path, required=True, metavar="DIR", help="where tables, figures and the page go")
    play.add_argument("--seeds", metavar="S", help="how many repetitions, or which, such as 3,7 (the experiment's)")
    length = play.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_count, metavar="N", help="optimiser steps of each training")
    length.add_argument("--minutes", type=_positive, metavar="M", help="minutes of each training instead")
    play.add_argument("--network", choices=tuple(FAMILIES), help="the network to train (the experiment's)")
    play.add_argument("--arms", type=_names, metavar="A,B", help="only these (all)")
    play.add_argument("--set", nargs="+", action="extend", metavar="KEY=VALUE", help="settings of the experiment")
    play.add_argument("--settings", action=experiment_verbs.ShowSettings, help="list the settings of each, and leave")
    play.add_argument("--modality", choices=("CT", "PET", "MR"), help="where the files do not say it")
    play.add_argument("--group", metavar="SEP", help="a case belongs to the patient before the last SEP of its name")
    play.add_argument("--jobs", type=_count, default=1, metavar="N", help="runs side by side (1)")
    play.add_argument("--threads", type=_count, default=1, metavar="N", help="threads of each run (1)")
    play.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    play.add_argument(
        "--stop-after", type=_positive, metavar="M", help="stop after so many minutes, and tell what is there"
    )


def _desk_verbs(verbs: Any) -> None:
    _add(verbs, "doctor", desk_verbs.doctor, "check this machine and say what is missing", "doctor", project=False)
    demo = _add(
        verbs,
        "demo",
        desk_verbs.demo,
        "make a phantom project and open it in napari, ready to label",
        "demo my-demo",
        project=False,
    )
    demo.add_argument("folder", type=Path, nargs="?", default=Path("demo-project"), metavar="DIR")
    demo.add_argument("--kind", choices=("ct", "pet", "mr"), default="ct", help="what the phantoms look like (ct)")
    demo.add_argument(
        "--headless", action="store_true", help="play the annotator on a virtual screen and leave pictures"
    )
    demo.add_argument(
        "--make-only", action="store_true", help="make the project and train its first round, open nothing"
    )
    demo.add_argument("--report", type=Path, metavar="DIR", help="where the pictures and the summary go (DIR-report)")
    report = _add(
        verbs,
        "report",
        report_verbs.report,
        "write one page about a project, figures included, that opens without a network",
        "report my-study --out my-study.html",
    )
    report.add_argument("--out", type=Path, metavar="FILE", help="where to (default: PROJECT/reports/report.html)")
    report.add_argument(
        "--simulation",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="also show these simulations, beside those of the project",
    )
    _add(verbs, "open", desk_verbs.open_, "open napari on a project", "open my-study")
    _add(
        verbs, "engine", desk_verbs.engine, "serve rounds and predictions on standard streams", "engine", project=False
    )
