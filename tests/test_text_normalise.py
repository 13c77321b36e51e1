"""English and Chinese read out, and what cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnitalk_cli.errors import InputError
from omnitalk_cli.text.normalise import normalise, normalise_chinese, normalise_english
from omnitalk_cli.text.tokenise import letters_tokens, pinyin_tokens, pinyin_words
from omnitalk_cli.text.vocabulary import Vocabulary

SPOKEN = frozenset(Vocabulary.letters().tokens) - frozenset("0123456789")


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Hello, World!", "hello, world!"),
        ("3 apples, 21 pears", "three apples, twenty-one pears"),
        ("1,234 and 1000000", "one thousand two hundred thirty-four and one million"),
        ("3.14 or .5 or -2", "three point one four or point five or minus two"),
        ("007", "zero zero seven"),
        ("the 1st, 2nd and 23rd", "the first, second and twenty-third"),
        ("in 1999, in 2005 and in 1776",
         "in nineteen ninety-nine, in two thousand five and in seventeen seventy-six"),
        ("the 1990s", "the nineteen nineties"),
        ("May 17, 2024", "may seventeenth, twenty twenty-four"),
        ("on 2024-05-17", "on may seventeenth, twenty twenty-four"),
        ("17 Sept. 2010", "september seventeenth, twenty ten"),
        ("at 10:30 a.m. or 7pm", "at ten thirty ay em or seven pee em"),
        ("14:05, 9:00", "fourteen oh five, nine o'clock"),
        ("$5.99", "five dollars ninety-nine cents"),
        ("$1 and £2.01", "one dollar and two pounds one penny"),
        ("€3.5 million", "three point five million euros"),
        ("12.5% more", "twelve point five percent more"),
        ("5 km at 60 mph", "five kilometers at sixty miles per hour"),
        ("1 kg, -5 °C", "one kilogram, minus five degrees celsius"),
        ("10-20 kg", "ten to twenty kilograms"),
        ("2½ cups, 3/4 full", "two and a half cups, three quarters full"),
        ("16:9", "sixteen to nine"),
        ("version 3.11.2", "version three point eleven point two"),
        ("Dr. Li and Mrs. Ray", "doctor li and missus ray"),
        ("Main St. near St. Paul", "main street near saint paul"),
        ("cats, dogs, etc.", "cats, dogs, et cetera."),
        ("e.g. this, i.e. that", "for example, this, that is, that"),
        ("He sat. I ate a fig.", "he sat. i ate a fig."),
        ("AI on 8 GPUs at NASA", "ay eye on eight jee pee yous at nasa"),
        ("I am NOT OK", "i am not okay"),
        ("mail me@foo.org", "mail me at foo dot org"),
        ("“It’s” — well…", "it's, well,"),
        ("well-known - yes", "well-known, yes"),
        ("rock & roll #1", "rock and roll number one"),
        ("Ångström, café, œuvre, Łódź", "angström, café, oeuvre, lodz"),
        ("what?! really...", "what? really,"),
        ("end.Next (see it)", "end. next, see it,"),
        ("I {read|red} it", "i red it"),
        ("vitamin C", "vitamin see"),
        ("hi 👍🏽 you", "hi you"),
        ("+1 (212) 555-0199", "plus one, two one two, five five five, zero one nine nine"),
        ("!!! …", ""),
    ],
)  # fmt: skip
def test_english(written: str, spoken: str) -> None:
    assert normalise_english(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("今天是2024年5月17日。", "今天是二零二四年五月十七日."),
        ("10:30见，2个人", "十点三十分见, 两个人"),
        ("10005 和 110,000.5", "一万零五 和 十一万点五"),
        ("涨了12.5%，-5°C", "涨了百分之十二点五, 负五摄氏度"),
        ("¥100 或 $20", "一百元 或 二十美元"),
        ("{行|hang2}长，Hello", "{行|hang2}长, hello"),
    ],
)
def test_chinese(written: str, spoken: str) -> None:
    assert normalise_chinese(written) == spoken


@pytest.mark.parametrize(
    ("text", "alphabet", "character"),
    [
        ("привет", "Cyrillic", "п"),
        ("مرحبا", "Arabic", "م"),
        ("नमस्ते", "Devanagari", "न"),
        ("こんにちは", "Hiragana", "こ"),
        ("カタカナ", "Katakana", "カ"),
        ("안녕", "Hangul", "안"),
        ("good शुभ day", "Devanagari", "श"),
    ],
)
def test_foreign_alphabets(text: str, alphabet: str, character: str) -> None:
    for read in (normalise_english, normalise_chinese, letters_tokens, pinyin_tokens):
        with pytest.raises(InputError, match=f"{alphabet} characters .*{character}"):
            read(text)


def test_chinese_in_english() -> None:
    with pytest.raises(InputError, match="--lang zh"):
        normalise_english("hello 你好")


def test_pinyin() -> None:
    assert pinyin_words("你好，不是") == ("ni2", "hao3,", "bu2", "shi4")
    assert pinyin_words("银{行|hang2}长") == ("yin2", "hang2", "zhang3")
    assert pinyin_words("{银行|yin2 hang2}") == ("yin2", "hang2")
    assert "".join(pinyin_tokens("用AI做绿茶!")) == "yong4 ai zuo4 lv4 cha2!"
    assert set(pinyin_tokens("的，OK?")) <= set(Vocabulary.letters().tokens)
    for bad in ("{行|hang}", "{银行|hang2}", "{|hang2}", "{行|}"):
        with pytest.raises(InputError, match="one syllable"):
            pinyin_words(bad)


def test_letters() -> None:
    assert letters_tokens("Hé—“y” 3") == tuple("hé y 3")
    assert letters_tokens("") == ()


@settings(max_examples=120)
@given(st.text(max_size=80))
def test_any_text_is_spoken_or_refused(text: str) -> None:
    try:
        spoken = normalise(text, "en")
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert set(spoken) <= SPOKEN
    assert spoken == " ".join(spoken.split()) and spoken[:1] not in tuple(".,?!;:-")
    assert all(any(c.isalpha() for c in word) for word in spoken.split())
    assert normalise(spoken, "en") == spoken


@settings(max_examples=120)
@given(st.text(alphabet="0123456789.,:/-+$€%°¢ xkMsthrdapm'#()½²\u2044", max_size=30))
def test_any_number_is_spoken(text: str) -> None:
    for language in ("en", "zh"):
        assert not any(c.isdigit() for c in normalise(text, language))  # type: ignore[arg-type]


@settings(max_examples=100)
@given(st.text(alphabet="你好银行一不了个长,。！？{}| abAB12", max_size=40))
def test_any_chinese_becomes_tokens(text: str) -> None:
    try:
        tokens = pinyin_tokens(normalise(text, "zh"))
    except InputError:
        assert "{" in text
        return
    assert set(tokens) <= set(Vocabulary.letters().tokens)
