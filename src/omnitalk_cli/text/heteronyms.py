"""English words whose sound depends on their neighbours: "the", "a", "read", "record", "live"."""

from __future__ import annotations

import re

Phones = tuple[str, ...]


def phone_table(text: str) -> dict[str, Phones]:
    """Lines or ``;``-divided items of "word PH ON ES"."""
    items = (item.split() for item in re.split("[;\n]", text))
    return {item[0]: tuple(item[1:]) for item in items if item}


# Words that are said in one way as a noun or adjective, in another as a verb.
_VERBS = phone_table("""
    use Y UW Z; uses Y UW Z IH Z; close K L OW Z; record R IH K AO R D; records R IH K AO R D Z
    present P R IH Z EH N T; presents P R IH Z EH N T S; object AH B JH EH K T
    objects AH B JH EH K T S; project P R AH JH EH K T; projects P R AH JH EH K T S
    produce P R AH D UW S; content K AH N T EH N T; contract K AH N T R AE K T
    contracts K AH N T R AE K T S; conduct K AH N D AH K T; conflict K AH N F L IH K T
    conflicts K AH N F L IH K T S; contest K AH N T EH S T; desert D IH Z ER T
    refuse R IH F Y UW Z; rebel R IH B EH L; separate S EH P ER EY T; estimate EH S T AH M EY T
    estimates EH S T AH M EY T S; graduate G R AE JH UW EY T; graduates G R AE JH UW EY T S
    alternate AO L T ER N EY T; appropriate AH P R OW P R IY EY T; moderate M AA D ER EY T
    deliberate D IH L IH B ER EY T; duplicate D UW P L AH K EY T; associate AH S OW S IY EY T
    delegate D EH L AH G EY T; advocate AE D V AH K EY T; coordinate K OW AO R D AH N EY T
    elaborate IH L AE B ER EY T; approximate AH P R AA K S AH M EY T; excuse IH K S K Y UW Z
    abuse AH B Y UW Z; house HH AW Z; wind W AY N D; winds W AY N D Z; tear T EH R
    tears T EH R Z; perfect P ER F EH K T; attribute AH T R IH B Y UW T
    progress P R AH G R EH S; protest P R AH T EH S T; convert K AH N V ER T
    convict K AH N V IH K T; extract IH K S T R AE K T; address AH D R EH S
    combine K AH M B AY N; compound K AH M P AW N D; compress K AH M P R EH S
    defect D IH F EH K T; live L IH V; lives L IH V Z
""")
_NOUNS = phone_table("""
    use Y UW S; uses Y UW S IH Z; close K L OW S; record R EH K ER D; records R EH K ER D Z
    present P R EH Z AH N T; presents P R EH Z AH N T S; object AA B JH EH K T
    objects AA B JH EH K T S; project P R AA JH EH K T; projects P R AA JH EH K T S
    produce P R OW D UW S; content K AA N T EH N T; contract K AA N T R AE K T
    contracts K AA N T R AE K T S; conduct K AA N D AH K T; conflict K AA N F L IH K T
    conflicts K AA N F L IH K T S; contest K AA N T EH S T; desert D EH Z ER T
    refuse R EH F Y UW Z; rebel R EH B AH L; separate S EH P R AH T; estimate EH S T AH M AH T
    estimates EH S T AH M AH T S; graduate G R AE JH UW AH T; graduates G R AE JH UW AH T S
    alternate AO L T ER N AH T; appropriate AH P R OW P R IY AH T; moderate M AA D ER AH T
    deliberate D IH L IH B ER AH T; duplicate D UW P L AH K AH T; associate AH S OW S IY AH T
    delegate D EH L AH G AH T; advocate AE D V AH K AH T; coordinate K OW AO R D AH N AH T
    elaborate IH L AE B R AH T; approximate AH P R AA K S AH M AH T; excuse IH K S K Y UW S
    abuse AH B Y UW S; house HH AW S; wind W IH N D; winds W IH N D Z; tear T IH R
    tears T IH R Z; perfect P ER F IH K T; attribute AE T R AH B Y UW T
    progress P R AA G R EH S; protest P R OW T EH S T; convert K AA N V ER T
    convict K AA N V IH K T; extract EH K S T R AE K T; address AE D R EH S
    combine K AA M B AY N; compound K AA M P AW N D; compress K AA M P R EH S
    defect D IY F EH K T; live L AY V; lives L AY V Z
""")
_MOSTLY_VERBS = frozenset("use produce combine compress convert refuse live lives address".split())
_BEFORE_VERBS = frozenset(
    "to will would can could should must may might shall cannot can't won't don't doesn't didn't "
    "couldn't wouldn't shouldn't not never always often usually also i you we they who let's "
    "please did do does i'll you'll we'll they'll he'll she'll it'll i'd you'd we'd they'd "
    "he'd she'd people".split()
)
_SINGULAR_SUBJECTS = frozenset("he she it who which that everyone nobody someone".split())
_BEFORE_NOUNS = frozenset(
    "a an the this that these those my your his her its our their no any some each every of in "
    "on for with by from at new old first last next same own more most such what which very so "
    "too is was are were be as two three four five many several all".split()
)
_OBJECTS = frozenset("the your my his our their a an it this that these all them".split())
_PAST_CUES = frozenset("yesterday ago last once was were had did already".split())
_BEFORE_PARTICIPLES = frozenset(
    "have has had having i've you've we've they've is are was were be been being he she it who "
    "never just already i'd widely well".split()
)
_LIVE_SHOWS = frozenset(
    "show shows music stream streams streaming broadcast broadcasts concert concerts audience "
    "band tv television video demo demos coverage updates event events performance performances "
    "album recording session sessions chat data wire animals".split()
)
_METAL = frozenset("pipe pipes paint poisoning acid pencil bullet bullets weight weights".split())
_LETTER_CUES = frozenset(
    "vitamin plan grade hepatitis type group class letter section option team route appendix "
    "the an capital part point vitamins".split()
)


def reading(word: str, before: str, after: str, words: list[str], *, vowel: bool) -> Phones | None:
    """How ``word`` is said between its neighbours (empty: a pause) in the sentence ``words``;
    ``vowel`` says that one follows. None for words that are always said alike."""
    return _little_word(word, before, after, vowel) or _heteronym(word, before, after, words)


def _little_word(word: str, before: str, after: str, vowel: bool) -> Phones | None:
    """Words that change with what follows; ``vowel`` says that a vowel does."""
    if word == "the":
        return ("DH", "IY" if vowel else "AH")
    if word == "to":
        return ("T", "UW" if vowel or not after else "AH")
    if word == "a":
        return ("EY",) if not after or before in _LETTER_CUES else ("AH",)
    if word == "and":
        return ("AH" if before else "AE", "N", "D")
    return None


def _heteronym(word: str, before: str, after: str, words: list[str]) -> Phones | None:
    """Spellings with two readings, by their neighbours; None for any other word."""
    if word == "read":
        past = before in _BEFORE_PARTICIPLES or (
            before not in _BEFORE_VERBS - {"i", "you", "we", "they", "who", "people"}
            and not _PAST_CUES.isdisjoint(words)
        )
        return ("R", "EH" if past else "IY", "D")
    if word == "lead":
        metal = after in _METAL or before in ("of", "contains", "containing")
        return ("L", "EH" if metal else "IY", "D")
    if word == "used" and after == "to" and before not in _BEFORE_PARTICIPLES - {"he", "she", "it"}:
        return ("Y", "UW", "S", "T")
    if word == "wound" and after in ("up", "down", "around", "tightly"):
        return ("W", "AW", "N", "D")
    if word == "bow" and (after in ("and", "tie", "ties") or before in ("his", "her", "a")):
        return ("B", "OW")
    if word == "minute" and before in ("most", "very", "in") and after == "detail":
        return ("M", "AY", "N", "UW", "T")
    if word == "live":
        show = after in _LIVE_SHOWS or before in ("a", "the", "go", "going", "goes", "went")
        return _NOUNS[word] if show else _VERBS[word]
    if word in _VERBS:
        return _VERBS[word] if _is_verb(word, before, after) else _NOUNS[word]
    return None


def _is_verb(word: str, before: str, after: str) -> bool:
    if word.endswith("s") and not word.endswith("ss"):
        return before in _SINGULAR_SUBJECTS
    # An order: "close the door", "and record your voice".
    if after in _OBJECTS and before in ("", "and", "then", "so", "or", "but", "now"):
        return True
    if before in _BEFORE_VERBS:
        return True
    if before in _BEFORE_NOUNS or before.endswith("'s") or after == "of":
        return False
    return word in _MOSTLY_VERBS and bool(after)
