"""Sentences of mixed Chinese and English for comparing tokenisers: numbers, marks, odd letters."""

from __future__ import annotations

import random

_ENGLISH = (
    "the quick brown fox", "GPU", "Dr. Li", "it's", "well-known", "e.g. this", "naïve café", "3.14",
    "2026-11-22", "(in brackets)", "\"quoted\"", "“curly”", "don’t", "50%", "a;b", "U.S.", "hello",
    "OmniTalk", "ok?!", "x = y + 1", "…", "wait—what", "I", "e-mail me", "#1", "C++", "émigré", "ß",
)  # fmt: skip
_CHINESE = (
    "你好", "银行", "一个", "不是", "我们都是中国人", "长大", "重要", "重复", "了解", "好了",
    "行走", "三两个", "很好", "老虎", "想你", "一会儿", "什么", "这儿", "的地得", "绿色",
    "女儿", "第一", "一百", "朝阳", "音乐", "快乐", "「引号」", "《书名》", "，", "。", "！",
    "？", "、", "；", "：", "（括号）", "——", "……", "〇", "２０２６", "ＡＢＣ", "カタカナ",
    "한국어", "привет", "😀", "㎏", "々",
)  # fmt: skip


def mixed_sentences(count: int, seed: int = 0) -> list[str]:
    """``count`` sentences, the same ones for the same ``seed``; every part occurs in some."""
    draw = random.Random(seed)
    parts = list(_ENGLISH + _CHINESE)
    sentences = [f"{a} {b}" for a, b in zip(_ENGLISH, _CHINESE, strict=False)]
    while len(sentences) < count:
        chosen = [draw.choice(parts) for _ in range(draw.randint(2, 12))]
        sentences.append("".join(part + draw.choice(("", "", " ", ", ")) for part in chosen))
    return sentences[:count]
