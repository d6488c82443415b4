"""ISO 639 codes in, tags with a region out, for wires that take no language without one.

A language is named with the regions whose callers its model is likely to understand; one that has
no usual region, such as Latin, is left out. The most spoken stands first.
"""

from collections.abc import Iterable

_REGIONS = {
    "af": "ZA", "am": "ET", "ar": "SA AE BH DZ EG IQ JO KW LB MA OM QA TN", "as": "IN", "az": "AZ",
    "be": "BY", "bg": "BG", "bn": "BD IN", "bo": "CN", "bs": "BA", "ca": "ES", "cs": "CZ",
    "cy": "GB", "da": "DK", "de": "DE AT CH", "el": "GR", "en": "US GB AU CA IE IN NZ ZA",
    "es": "ES MX US AR CL CO PE", "et": "EE", "eu": "ES", "fa": "IR", "fi": "FI", "fil": "PH",
    "fo": "FO", "fr": "FR BE CA CH", "gl": "ES", "gu": "IN", "ha": "NG", "haw": "US", "he": "IL",
    "hi": "IN", "hr": "HR", "ht": "HT", "hu": "HU", "hy": "AM", "id": "ID", "is": "IS",
    "it": "IT CH", "ja": "JP", "ka": "GE", "kk": "KZ", "km": "KH", "kn": "IN", "ko": "KR",
    "lb": "LU", "ln": "CD", "lo": "LA", "lt": "LT", "lv": "LV", "mg": "MG", "mi": "NZ", "mk": "MK",
    "ml": "IN", "mn": "MN", "mr": "IN", "ms": "MY", "mt": "MT", "my": "MM", "ne": "NP",
    "nl": "NL BE", "nn": "NO", "no": "NO", "oc": "FR", "pa": "IN", "pl": "PL", "ps": "AF",
    "pt": "PT BR", "ro": "RO", "ru": "RU", "sd": "PK", "si": "LK", "sk": "SK", "sl": "SI",
    "sn": "ZW", "so": "SO", "sq": "AL", "sr": "RS", "su": "ID", "sv": "SE FI", "sw": "KE TZ",
    "ta": "IN", "te": "IN", "tg": "TJ", "th": "TH", "tk": "TM", "tl": "PH", "tr": "TR", "tt": "RU",
    "uk": "UA", "ur": "PK IN", "uz": "UZ", "vi": "VN", "yo": "NG", "yue": "HK", "zh": "CN TW SG",
}  # fmt: skip


def language_tags(languages: Iterable[str]) -> list[str]:
    """`en-US` and the like, by language."""
    return [
        f"{language}-{region}"
        for language in sorted(languages)
        for region in _REGIONS.get(language, "").split()
    ]
