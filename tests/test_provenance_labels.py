"""Profiles give what their rules ask for; what strangers' metadata claims is read without harm."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitalk_cli import __version__
from omnitalk_cli.errors import UsageError
from omnitalk_cli.media.encode import VideoWriter
from omnitalk_cli.pipeline import request
from omnitalk_cli.provenance.aigc import FIELDS, KEY, make_tag
from omnitalk_cli.provenance.labels import (
    BASIC_METADATA,
    OPENING_SECONDS,
    PROFILES,
    LabelClaim,
    LabelOptions,
    labels_for,
    read_label_claim,
)
from omnitalk_cli.provenance.text import cleaned
from omnitalk_cli.provenance.visible import SIZES, draw_label

ID = "0badcafe"
NOON = datetime(2026, 8, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_marks_the_picture_from_the_first_frame(profile: str) -> None:
    labels = labels_for(LabelOptions(profile=profile), identifier=ID, made=NOON)
    assert labels.persistent is not None and labels.duty is None
    assert labels.persistent.text == PROFILES[profile].text
    assert BASIC_METADATA.items() <= labels.metadata.items()
    for width, height in ((256, 256), (512, 512), (1024, 1024), (1920, 1080), (1080, 1920)):
        assert draw_label(labels.persistent, width=width, height=height).lines[1:] == ()


@pytest.mark.parametrize("profile", ["cn", "all"])
@pytest.mark.parametrize("size", [SIZES[0], 0.03, SIZES[1]])
@pytest.mark.parametrize("position", ["top", "bottom-right"])
def test_opening_label_of_the_standard(profile: str, size: float, position: Any) -> None:
    """GB 45438-2025: AI and generated/synthesised in words, letters of 5 %, 2 s."""
    options = LabelOptions(profile=profile, size=size, position=position, text="Mine")
    labels = labels_for(options, identifier=ID)
    assert labels.opening is not None and labels.persistent is not None
    assert "人工智能" in labels.opening.text and "生成" in labels.opening.text
    assert labels.persistent.text == "Mine" and OPENING_SECONDS >= 2
    for width, height in ((256, 256), (512, 512), (1920, 1080), (1080, 1920)):
        opening = draw_label(labels.opening, width=width, height=height)
        ink = np.flatnonzero((opening.rgba[..., 0] > 128).any(1))
        assert np.ptp(ink) / len(opening.lines) >= 0.05 * min(width, height)
        persistent = draw_label(labels.persistent, width=width, height=height)
        upper, lower = sorted((opening, persistent), key=lambda label: label.y)
        assert upper.y + len(upper.rgba) <= lower.y  # neither covers the other


@pytest.mark.parametrize("profile", ["eu", "us"])
def test_no_opening_label_where_none_is_asked_for(profile: str) -> None:
    assert labels_for(LabelOptions(profile=profile), identifier=ID).opening is None


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("word", ["none", "None", " NONE "])
def test_none_takes_the_words_away_and_says_whose_duty_they_are(profile: str, word: str) -> None:
    labels = labels_for(LabelOptions(profile=profile, text=word), identifier=ID, made=NOON)
    with_words = labels_for(LabelOptions(profile=profile), identifier=ID, made=NOON)
    assert labels.persistent is None and labels.opening is None
    assert labels.duty is not None and "\n" not in labels.duty
    assert labels.duty.startswith("no visible mark: ") and "up to whoever publishes" in labels.duty
    assert labels.metadata == with_words.metadata  # the metadata stay


def test_metadata_of_the_profiles() -> None:
    made = {
        name: labels_for(LabelOptions(profile=name), identifier=ID, made=NOON).metadata
        for name in PROFILES
    }
    assert made["eu"] == BASIC_METADATA
    assert json.loads(made["us"]["description"]) == {
        "ai_generated": True, "provider": "omnitalk", "system": "omnitalk",
        "version": __version__, "time": "2026-08-02T12:00:00Z", "id": ID,
    }  # fmt: skip
    assert KEY not in made["us"] and "description" not in made["cn"]
    assert list(json.loads(made["cn"][KEY])) == list(FIELDS)
    assert made["all"] == {**made["us"], **made["cn"]}
    named = labels_for(LabelOptions(profile="cn", producer="ACME"), identifier=ID).metadata
    assert json.loads(named[KEY])["ContentProducer"] == "ACME" and "ACME" in named["comment"]
    with pytest.raises(ValueError, match="8 hex"):
        labels_for(LabelOptions(), identifier="xyz")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"profile": "mars"}, "one of eu, us, cn, all"),
        ({"producer": " "}, "producer"),
        ({"producer": "a\nb"}, "producer"),
        ({"producer": "x" * 101}, "producer"),
        ({"text": ""}, "visible mark"),
        ({"text": "视频"}, "--visible-font"),
        ({"font": Path("nowhere.ttf")}, "not a readable font"),
        ({"position": "nowhere"}, "position"),
        ({"size": 0.9}, "size"),
        ({"opacity": 0.1}, "opacity"),
    ],
)
def test_bad_options_fail_at_once(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LabelOptions(**bad)


def test_the_command_line_checks_labels_before_any_work() -> None:
    for bad in ({"visible_mark": "视频"}, {"visible_font": "nowhere.ttf"}, {"producer": ""}):
        with pytest.raises(UsageError):
            request.video_options(overwrite=False, options=bad)
    chosen = request.video_options(
        overwrite=False, options={"label_profile": "all", "visible_position": "top"}
    )
    persistent, opening = chosen.labels.marks
    assert persistent is not None and persistent.position == "top"
    assert opening is not None and opening.position == "bottom"


def test_words_too_long_for_the_picture_are_refused_before_the_work() -> None:
    long = {"visible_mark": "word " * 15 + "words"}
    small, large = (
        request.video_options(overwrite=False, options={**long, "size": size})
        for size in (256, 1024)
    )
    reference: Any = None  # the face view does not look at it
    with pytest.raises(UsageError, match="256x256"):
        request.check_frame(reference, small)
    request.check_frame(reference, large)


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_written_is_read_back(profile: str, tmp_path: Path) -> None:
    options = LabelOptions(profile=profile, producer="A \"B\" 'C'; D=é 中")
    labels = labels_for(options, identifier=ID, made=NOON)
    out = tmp_path / "o.mp4"
    with VideoWriter(out, width=32, height=32, fps=25, metadata=labels.metadata) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    with av.open(str(out), metadata_errors="replace") as container:
        claim = read_label_claim(container.metadata)
    assert claim.generated and claim.by_us and claim.problems == ()
    rules = PROFILES[profile]
    assert claim.aigc.get("ProduceID") == (ID if rules.aigc else None)
    assert claim.aigc.get("ContentProducer") == (options.producer if rules.aigc else None)
    assert claim.disclosure.get("id") == (ID if rules.disclosure else None)
    assert json.loads(json.dumps(claim.to_dict()))["generated"] is True


TAG = make_tag(producer="P", identifier=ID)
NO_CLAIM = LabelClaim(generated=False, by_us=False, aigc={}, disclosure={}, problems=())


@pytest.mark.parametrize(
    ("metadata", "generated"),
    [
        ({}, False),
        ({"title": "My holidays", "comment": "no AI here", "description": "{}"}, False),
        ({"description": '{"ai_generated": "yes", "id": "1"}'}, False),
        ({"AIGC": TAG}, True),
        ({"aigc": f'{{"AIGC":{TAG}}}'}, True),
        ({"AIGC": '{"Label":1}'}, True),
        ({"AIGC": '{"Label":"2"}'}, False),  # "possibly"
        ({"COMMENT": BASIC_METADATA["comment"] + " More."}, True),
        ({"title": BASIC_METADATA["title"]}, True),
    ],
)
def test_claims(metadata: dict[str, str], generated: bool) -> None:
    claim = read_label_claim(metadata)
    assert claim.generated is generated and claim.problems == ()


@pytest.mark.parametrize(
    ("tag", "problem"),
    [
        ("", "not valid JSON"),
        ("hello", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "no Label"),
        ('{"Label":"9"}', "no Label"),
        ('{"Label":true}', "no Label"),
        ('{"Label":["1"]}', "no Label"),
        ('{"AIGC":[]}', "no Label"),
        ("[" * 8000, "not valid JSON"),
        ('{"a":' * 1600, "not valid JSON"),
        ('{"Label":' + "9" * 5000 + "}", "not valid JSON"),
        ('{"Label":"1","x":"' + "y" * 10_000_000 + '"}', "too long"),
    ],
)
def test_bad_tags_are_no_claim(tag: str, problem: str) -> None:
    claim = read_label_claim({"AIGC": tag})
    assert replace(claim, problems=()) == NO_CLAIM and problem in claim.problems[0]


def test_hostile_fields_are_cleaned_and_bounded() -> None:
    tag = json.dumps(
        {"Label": "1", "ContentProducer": "a\x1b[31m\nb\u202ec\ud800", "ProduceID": "9" * 7000}
    )
    claim = read_label_claim({"AIGC": tag})
    assert claim.aigc["ContentProducer"] == "a [31m b c"
    assert len(claim.aigc["ProduceID"]) == 200


def _fit_to_print(text: str) -> bool:
    unprinted = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return len(text) <= 200 and not any(unicodedata.category(c) in unprinted for c in text)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*FIELDS, KEY, "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)
_VALUE = st.text() | _ANY.map(json.dumps)


@given(
    st.dictionaries(st.sampled_from(["AIGC", "aigc", "title", "comment", "description"]), _VALUE)
)
def test_reading_never_fails(metadata: dict[str, str]) -> None:
    claim = read_label_claim(metadata)
    shown = [*claim.aigc.values(), *claim.disclosure.values(), *claim.problems]
    assert all(_fit_to_print(text) for text in shown)
    assert set(claim.aigc) <= set(FIELDS)
    assert json.dumps(claim.to_dict()).isascii()


@given(st.text(max_size=120), st.text(alphabet="0123456789abcdef", min_size=8, max_size=8))
def test_tags_come_back(producer: str, identifier: str) -> None:
    claim = read_label_claim({"AIGC": make_tag(producer=producer, identifier=identifier)})
    assert claim.generated and claim.aigc["ProduceID"] == identifier
    assert claim.aigc["ContentProducer"] == cleaned(producer, 200)


@given(st.text(), st.integers(1, 50))
def test_cleaned(text: str, limit: int) -> None:
    line = cleaned(text, limit)
    assert len(line) <= limit and _fit_to_print(line) and line == line.strip()
    assert cleaned(line, limit) == line
