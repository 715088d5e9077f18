"""Clauses in the manner of royal inscriptions: transliteration and English, lengths spread like the real ones."""

from __future__ import annotations

import random
from collections.abc import Iterator

KINGS = {
    "{m}-aš-šur-PAP-A": "Ashurnasirpal",
    "{m}-{d}-30-PAP-MEŠ-SU": "Sennacherib",
    "{m}-aš-šur-DU₃-A": "Ashurbanipal",
    "{m}-LUGAL-GIN": "Sargon",
    "{m}-{d}-IM-ERIN₂.TAH₂": "Adad-nārārī",
    "{m}-TUKUL-ti-A-E₂.ŠAR₂.RA": "Tiglath-pileser",
}
GODS = {"aš-šur": "Aššur", "{d}-AMAR.UTU": "Marduk", "{d}-INANNA": "Ištar", "{d}-UTU": "Šamaš", "{d}-MAŠ": "Ninurta"}
CITIES = {
    "{URU}-ni-nu-a": "Nineveh",
    "{URU}-kal-hi": "Calah",
    "{URU}-har-ra-na": "Ḫarrān",
    "{URU}-ṣur-ri": "Tyre",
    "{URU}-di-maš-qa": "Damascus",
    "{URU}-gar-ga-miš": "Carchemish",
    "{URU}-ar-pad-da": "Arpad",
    "{URU}-BAD₃-LUGAL-GIN": "Dūr-Šarrukīn",
}
GOODS = {"KU₃.BABBAR": "silver", "KU₃.GI": "gold", "AN.BAR": "iron", "ANŠE.KUR.RA.MEŠ": "horses", "GU₄.MEŠ": "oxen"}
CLAUSES = (
    ("{king} LUGAL KUR aš-šur", "{king}, king of Assyria"),
    ("a-na {city} al-lik", "I marched to {city}"),
    ("{city} al-me ak-šud", "I besieged (and) captured {city}"),
    ("ina qi-bit {god} EN-ia", "by the command of {god}, my lord"),
    ("{goods} ma-da-at-ta-šu₂ am-hur", "I received {goods} as his tribute"),
    ("E₂ {god} ina qe₂-reb {city} ab-ni", "I built the temple of {god} in {city}"),
    ("šal-la-su-nu aš₂-lu-la a-na {city}", "I carried off their booty to {city}"),
    ("{number} LIM UN.MEŠ a-di {goods} u₂-še-ṣa-a", "I brought out {number},000 people together with {goods}"),
    ("LUGAL-šu₂-nu ina {city} aṣ-bat", "I seized their king in {city}"),
    ("šu-mi šaṭ-ra it-ti {god} aš₂-kun", "I placed my inscribed name beside {god}"),
)
MU, SIGMA, MOST_CLAUSES = 0.0, 1.2, 24
"""Clauses a row are lognormal: the median row has one or two, one in twenty more than nine, as in the real corpus."""


def rows(count: int, seed: int, num_labels: int | None = None) -> Iterator[dict[str, str]]:
    """``count`` rows with ``transliteration`` and ``translation``."""
    draw = random.Random(seed)
    for _ in range(count):
        clauses = min(MOST_CLAUSES, max(1, round(draw.lognormvariate(MU, SIGMA))))
        pairs = [_clause(draw) for _ in range(clauses)]
        yield {
            "transliteration": " ".join(source for source, _ in pairs),
            "translation": ", ".join(target for _, target in pairs) + ".",
        }


def _clause(draw: random.Random) -> tuple[str, str]:
    source, target = draw.choice(CLAUSES)
    words = {"king": KINGS, "god": GODS, "city": CITIES, "goods": GOODS}
    picked = {name: draw.choice(list(table.items())) for name, table in words.items()}
    number = str(draw.randrange(2, 90))
    left = {name: pair[0] for name, pair in picked.items()} | {"number": number}
    right = {name: pair[1] for name, pair in picked.items()} | {"number": number}
    return _fill(source, left), _fill(target, right)


def _fill(template: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        template = template.replace("{" + name + "}", word)
    return template
