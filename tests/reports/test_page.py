"""The whole page: every section, valid, self-contained, safe against user text, and the same for the same project."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from napari_dasl import reports
from napari_dasl.cli import main
from napari_dasl.errors import InputError, StorageError
from napari_dasl.project import Project
from napari_dasl.reports import page
from napari_dasl.reports.blocks import Column, Section, Table, Words

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
CLASSES = ("liver", "<b>tumour</b> & $x_1$")  # of the fixture, as is the reason
REASON = "The guard set lost <script>alert(1)</script> 0.030."
SECTIONS = ["summary", "rounds", "self-paced", "ranking", "effort", "learning-curve", "simulations"]
VOID = {"meta", "img"}


class Page(HTMLParser):
    """What a browser would find: elements, attributes and texts; it fails where elements do not close as opened."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def words(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if tag in tags]


@pytest.fixture(scope="module")
def text(lived):
    return reports.build(lived, now=NOW)


@pytest.fixture(scope="module")
def found(text):
    return Page(text)


def test_has_every_section_with_a_link_to_it(found):
    assert [one["id"] for one in found.named("section")] == SECTIONS
    assert [one["href"] for one in found.named("a")] == [f"#{name}" for name in SECTIONS]


def test_ids_are_unique_and_labels_point_to_them(found):
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {one["aria-labelledby"] for one in found.named("section")} <= set(ids)


def test_loads_nothing_from_anywhere(found, text):
    addresses = [value for _, given in found.elements for key, value in given.items() if key in ("src", "href")]
    assert addresses
    assert all(one.startswith(("data:image/svg+xml;base64,", "#")) for one in addresses)
    assert not {"link", "iframe", "object"} & {tag for tag, _ in found.elements}
    assert "url(" not in text
    assert "@import" not in text
    policy = next(one["content"] for one in found.named("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'")


def test_pictures_are_svg_with_words_for_who_cannot_see_them(found):
    pictures = found.named("img")
    assert len(pictures) == 9
    for picture in pictures:
        assert len(picture["alt"]) > 10
        drawing = base64.b64decode(picture["src"].partition(",")[2])
        assert ElementTree.fromstring(drawing).tag == "{http://www.w3.org/2000/svg}svg"


def test_user_text_is_shown_and_never_run(found, text):
    assert len(found.named("script")) == 1
    assert {"b", "i", "study"}.isdisjoint(tag for tag, _ in found.elements)
    assert found.words("h1") == ["liver <study> & more: report"]
    assert CLASSES[1] in found.words("th")
    assert REASON in found.words("td")
    assert "<script>alert" not in text


def test_an_attribute_cannot_be_broken_out_of():
    caption = 'a" onload="alert(1)'
    table = Table((Column("x"),), (("</td><script>",),), caption)
    found = Page(page.render("t", [Section("s", "S", (table, Words("<p>")))], now=NOW))
    assert [one["aria-label"] for one in found.named("div")] == [caption]
    assert all("onload" not in given for _, given in found.elements)
    assert len(found.named("script")) == 1


def test_numbers_can_be_sorted_by_value_and_dashes_have_none():
    table = Table((Column("x", 1), Column("y")), ((-2.25, None), (None, True)), "c", sortable=True)
    found = Page(page.render("t", [Section("s", "S", (table,))], now=NOW))
    assert [one.get("data-sort") for one in found.named("td")] == ["-2.25", None, None, None]
    assert found.words("td") == ["−2.2", "–", "–", "yes"]
    assert found.words("button") == ["x", "y"]


def test_the_same_project_gives_the_same_bytes(lived, text):
    assert reports.build(lived, now=NOW) == text
    later = reports.build(lived, now=NOW.replace(year=2030))
    assert later != text
    assert later.replace("2030-11-20", "2026-11-20") == text


def test_an_empty_project_says_what_is_missing(empty):
    found = Page(reports.build(empty, now=NOW))
    assert [one["id"] for one in found.named("section")] == SECTIONS
    assert {
        "No round has been run yet.",
        "No round has learned from pseudo-labels yet.",
        "No scan has been ranked yet.",
        "No annotation time has been recorded yet.",
        "No round has been compared on a guard set yet.",
        "No simulation has been run on this project.",
    } <= set(found.words("p"))
    assert len(found.named("img")) == 1


@pytest.fixture
def study(empty, tmp_path):
    """A copy of the empty project that may be written to."""
    shutil.copytree(empty.folder, tmp_path / "study")
    Project.open(tmp_path / "study").close()  # so that all of the database is in its one file
    return tmp_path / "study"


def test_the_verb_writes_into_the_project_and_names_the_file(study, capsys):
    assert main(["report", str(study), "--json"]) == 0
    path = study.resolve() / "reports" / "report.html"
    assert json.loads(capsys.readouterr().out) == {"path": str(path)}
    assert Page(path.read_text(encoding="utf-8")).named("section")
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


def test_the_verb_writes_where_it_is_told_and_replaces_what_is_there(study, tmp_path, capsys):
    out = tmp_path / "mine.html"
    out.write_text("old")
    assert main(["report", str(study), "--out", str(out), "--json"]) == 0
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not (study / "reports").exists()


def test_a_wrong_place_is_refused_in_words(empty, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        reports.write(empty, tmp_path, now=NOW)
    with pytest.raises(StorageError, match="missing"):
        reports.write(empty, tmp_path / "no" / "report.html", now=NOW)


def test_a_damaged_result_leaves_the_old_report(study, tmp_path, capsys):
    out = tmp_path / "mine.html"
    out.write_text("old")
    assert main(["report", str(study), "--out", str(out), "--simulation", str(tmp_path)]) == 2
    assert "no result of a simulation" in capsys.readouterr().err
    assert out.read_text() == "old"


def test_without_matplotlib_it_says_what_to_install(empty, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"napari-dasl\[report\]"):
        reports.build(empty, now=NOW)


def test_the_report_changes_nothing_in_the_project(study):
    def state(folder: Path) -> dict[str, bytes]:
        return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file() and "sqlite-" not in one.name}

    before = state(study)
    with Project.open(study) as project:
        reports.build(project, now=NOW)
    assert state(study) == before
