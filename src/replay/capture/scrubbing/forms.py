r"""Secrets known by their form, under whatever name they stand.

What is replaced for its form alone, wherever it stands:

=====================================  =================================================================================
JWT, PEM private key                   always
a maker's token                        by its prefix: ``ghp_``, ``sk_live_``, ``xoxb-``, ``AKIA``... (``MAKERS``)
password hash                          bcrypt, Argon2, crypt
e-mail address                         always, but for ``logo@2x.png``
phone number                           international (``+49 170 1234567``), 8 to 15 digits
payment card                           14 to 16 digits of a network's range with a right Luhn digit
IBAN                                   its country's length and right check digits (mod 97)
password in a URL                      ``scheme://user:password@host``
random letters of both cases           20 and more of base64's alphabet, hardly a word among them
random letters and digits of one case  24 and more without a sign between, hardly a word among them
hexadecimal                            28 and more digits without a sign between, letters and digits
base64 of a text                       where that text holds one of these; else it stays, random as it looks
=====================================  =================================================================================

What stays however random it looks: numbers, dates, prices, coordinates, versions; UUIDs, ULIDs, ObjectIds (24
hexadecimal digits), cuids; slugs (words and numbers between hyphens); file names with an ending (``app.5d41402a.js``);
``sha256-...`` and its kin; and the last three kinds of the table under a name that says id, hash, digest, ETag, commit,
trace, version or cursor, or anywhere else once they stood under such a name.
"""

import itertools
import re
import string
from functools import lru_cache

JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,3}")
PRIVATE_KEY = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----(?s:.*?)(?:-----END [A-Z0-9 ]{0,60}-----|\Z)"
EMAIL = re.compile(
    r"(?<![\w.%+-])(?!git@)[\w.%+-]{1,64}@(?!\d+x\.)(?:[\w-]{1,63}\.){1,8}"
    r"(?!(?:png|jpe?g|gif|svg|webp|m?js|css|map|json|html?|vue|tsx?)(?![\w.-]))(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})"
)
# International numbers, as written by hand too.
PHONE = r"(?<![\w+.-])\+[1-9](?:[ \u00a0\u202f\u2011\u2013()/.-]{0,2}[0-9]){7,14}(?![\w])"
DIGITS = r"(?<![\w.:/-])[0-9](?:[ \u00a0\u202f\u2011-]?[0-9]){12,18}(?!\w|\.\w)"
IBAN = r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])"

# What a maker puts before its tokens, to be kept in a pseudonym, and what follows.
_MAKERS: tuple[tuple[str, str], ...] = (
    ("gh[pousr]_", r"[A-Za-z0-9]{20,}"),
    ("github_pat_", r"\w{20,}"),
    ("gl(?:pat|dt|rt|cbt|ptt|ft|oas|soat|agent|imt|ffct)-", r"[\w-]{16,}"),
    ("xox[abcdeoprs]-", r"[A-Za-z0-9-]{8,}"),
    ("xapp-", r"[A-Za-z0-9-]{10,}"),
    ("[spr]k_(?:live|test|prod)_", r"[A-Za-z0-9]{8,}"),
    ("whsec_", r"[A-Za-z0-9+/=]{16,}"),
    (
        "sk-(?:proj-|ant-|or-|svcacct-|admin-)?",
        r"(?=[A-Z_-]*[a-z0-9])(?=[a-z0-9_-]*[A-Z])(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}",
    ),
    ("(?:AKIA|ASIA|ABIA|ACCA)", r"[A-Z0-9]{16}(?![A-Z0-9])"),
    ("AIza", r"[\w-]{30,}"),
    ("ya29\\.", r"[\w.-]{16,}"),
    ("1//0", r"[\w-]{20,}"),
    ("GOCSPX-", r"[\w-]{16,}"),
    ("npm_", r"[A-Za-z0-9]{20,}"),
    ("pypi-AgE", r"[\w-]{16,}"),
    ("rubygems_", r"[0-9a-f]{32,}"),
    ("SG\\.", r"[\w-]{16,}\.[\w-]{16,}"),
    ("key-", r"[0-9a-f]{32}(?![0-9a-f])"),
    ("xkeysib-", r"[0-9a-f]{32,}(?:-[A-Za-z0-9]+)?"),
    ("hv[sbr]\\.", r"[\w-]{20,}"),
    ("do[opr]_v1_", r"[0-9a-f]{32,}"),
    ("shp(?:at|ca|pa|ss)_", r"[0-9a-fA-F]{16,}"),
    ("EAA[A-Z]?", r"[A-Za-z0-9]{40,}"),
    ("sq0(?:atp|csp|idp)-", r"[\w-]{16,}"),
    ("dckr_(?:pat|oat)_", r"[\w-]{16,}"),
    ("hf_", r"[A-Za-z0-9]{20,}"),
    ("lin_(?:api|oauth)_", r"[A-Za-z0-9]{20,}"),
    ("fig[dou]_", r"[\w-]{20,}"),
    ("glsa_", r"[A-Za-z0-9]{20,}(?:_[0-9a-f]{8})?"),
    ("sntry[su]_", r"[A-Za-z0-9+/=_-]{20,}"),
    ("CFPAT-", r"[\w-]{20,}"),
    ("PMAK-", r"[0-9a-f]{20,}(?:-[0-9a-f]{20,})?"),
    ("NR(?:AK|JS|II)-", r"[A-Za-z0-9_-]{16,}"),
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{40,}"),
    ("pat-(?:na|eu)\\d-", r"[0-9a-f-]{32,}"),
    ("ATATT3", r"[\w=-]{30,}"),
    ("(?:AC|SK)", r"[0-9a-f]{32}(?![0-9a-f])"),
    ("amzn\\.mws\\.", r"[0-9a-f-]{36}"),
    ("v[1-4]\\.(?:local|public)\\.", r"[\w-]{16,}(?:\.[\w-]+)?"),
    (
        "(?:tok|rt|at|cs|pat|sess|sid|key|secret|api|pw)_(?:live_|test_)?",
        r"(?=(?:[A-Za-z0-9]*[_-])*(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{10,})[A-Za-z0-9_-]{14,}",
    ),
    ("\\$2[abxy]\\$\\d\\d\\$", r"[./A-Za-z0-9]{53}"),
    ("\\$(?:argon2(?:id|i|d)|scrypt|pbkdf2[\\w-]*|[156y])\\$", r"[\w$./+=,*-]{20,}"),
)
MAKERS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    + "|".join(f"{prefix}{rest}" for prefix, rest in _MAKERS)
    + r"|[0-9]{8,10}:[A-Za-z0-9_-]{35}|[0-9a-f]{32}-us[0-9]{1,2}(?![0-9]))"
)
MAKERS_PREFIX = re.compile("|".join(f"(?:{prefix})" for prefix, _ in _MAKERS) + "|(?:[a-z]{2,4}_){1,2}")

_UUID_OR_ULID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-7][0-9A-HJKMNP-TV-Z]{25}")
_OBJECT_ID = re.compile(r"[0-9a-f]{24}|[0-9A-F]{24}|c[a-z][0-9a-z]{23}(?<=[0-9a-z]{25})")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-f]{28,}|[0-9A-F]{28,})")
_ONE_CASE = re.compile(r"[a-z0-9]{24,}|[A-Z0-9]{24,}")
IS_DIGEST = re.compile(r"(?i:sha-?(?:1|224|256|384|512)|md5|crc32c?|blake[23]\w{0,3})[-:=_]")
_FILE = re.compile(
    r"(?i)[\w%.@+~-]*[\w%]\.(?:m?js|css|map|html?|png|jpe?g|gif|svg|webp|avif|ico|woff2?|ttf|otf|eot|mp[34]|webm|wasm|"
    r"txt|xml|json|pdf|zip|gz|csv|docx?|xlsx?|pptx?|php|aspx?|jsp|md|ics|bin|apk|dmg|exe|tar)"
)
STATIC_FILE = re.compile(r"(?i)\.(?:m?js|css|map|png|jpe?g|gif|svg|webp|avif|ico|woff2?|ttf|otf|eot|mp4|webm|wasm)$")
# Words, several of them written as one, and numbers between signs; what is short may be anything.
_PART = r"[A-Z]?[a-z]{2,23}|[A-Z]{2,10}|(?:[0-9]{8})?[0-9]{2}T[0-9]{2,6}Z?|[0-9]+|[0-9A-Za-z]{1,3}"
_SLUG = re.compile(rf"(?:(?:{_PART})(?:[-_.]+|$))+")
_CAMEL = r"[A-Z]?[a-z]{2,23}(?:[A-Z]{0,3}[A-Z][a-z]{2,23})+[0-9]{0,2}"
_NAMES = re.compile(
    rf"(?=.*[-_.])[-_.]*(?:(?:{_PART}|{_CAMEL}|[A-Z]?[a-z]{{2,23}}[0-9]{{1,4}}|[0-9]{{1,4}}[a-z]{{2,3}})(?:[-_.]+|$))+"
)
_ALPHABET = re.compile("(?i)abcdefghijklm")
RUNS = re.compile(r"[A-Za-z0-9_-]{20,}={0,2}")
_NUMBERS = re.compile(r"[0-9]+")
_SEGMENTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_DATE = re.compile(r"(?:19|20)\d\d(?:-(?:0[1-9]|1[0-2])-[0-3]\d|(?:0[1-9]|1[0-2])[0-3]\d(?:[Tt_-]|$))")
_VERSIONED = re.compile(r"[A-Za-z]+/v?[\d.]+[\w.]{0,8}")
_SIGNS = frozenset("!$&#%^*@+?<>{}|~=")

# How much oftener than by chance one letter (a to z) is followed by another (a to z) in the commonest words of twelve
# languages written in Latin letters (of the lists of the package wordfreq 3.1), as a power of two: 5 is as often as by
# chance, 7 four times as often.
_PAIRS = (
    "56772464645878261878654254631070106106015005325000307040700872550170052650003471138020710323710541522033"
    "65776564745779453987554534500065106004005005244000106001703450041450063350001071017000600434600425402030"
    "74768562345769753687361224500150003030014000204000006010600050240350044540102073258332803733720155530051"
    "74017000700252660042500030726774737253266012785420443555445453477856087665523370117204600600750744500010"
    "00000000000000000000500000845693538055557315676430547261822571544266127862303382319126812423710766623053"
    "54556442523657350766332323600070006001006003102000205001600350010340023020003020202000300000040003100000"
    "3232401020233232024210100050115000501113400002402032"
)
_BY_CHANCE = 5
_OFTEN = {
    pair: int(digit) - _BY_CHANCE
    for pair, digit in zip(itertools.product(string.ascii_lowercase, repeat=2), _PAIRS, strict=True)
}
_SHORTEST = 20
_MOST_BLANKS = 3
_LOOKED_AT = 400
# Words have pairs of letters that are oftener than by chance, many for their letters, and few numbers among them.
_OFTENER = 0.3
_MOST_PAIRS = 0.5
_LENGTH_PER_NUMBER = 9
_CHANCE = 0.38


def looks_random(value: str) -> bool:
    """Whether a word (of letters, digits, ``_-+/=``) is a random token, by the table above."""
    return len(value) >= _SHORTEST and _looks_random(value[:_LOOKED_AT])


@lru_cache(maxsize=65536)
def _looks_random(value: str) -> bool:
    bare = value.rstrip("=")
    if bare.startswith("----"):  # `------WebKitFormBoundary...`
        return False
    if len(bare) < _SHORTEST or _UUID_OR_ULID.fullmatch(bare) or _OBJECT_ID.fullmatch(bare) or IS_DIGEST.match(bare):
        return False
    if bare.isdigit() or not bare.isascii() or _SLUG.fullmatch(bare):
        return False
    if _NAMES.fullmatch(bare) or _ALPHABET.search(bare):
        return False
    if _HEX.fullmatch(bare):
        return not bare.isalpha()
    has_lower, has_upper = bare.upper() != bare, bare.lower() != bare
    if has_lower and has_upper:
        return not _is_words(bare) or _alternates(bare)
    return any(
        not _is_words(match[0]) and not _DATE.match(match[0])
        for match in _ONE_CASE.finditer(bare)
        if not match[0].isdigit() and not _OBJECT_ID.fullmatch(match[0])
    )


def is_file_name(word: str) -> bool:
    """Whether a word is a file's name, by its ending: a hash in it only says which version."""
    return bool(_FILE.fullmatch(word))


def is_recognisable(value: str) -> bool:
    """Whether a secret is so unlike anything else that it may be replaced wherever it stands.

    ``password`` as somebody's password must not turn ``grant_type=password`` into something else.
    """
    if len(value) < 8 or _DATE.match(value) or _VERSIONED.fullmatch(value):
        return False
    if value.isdigit():
        return len(value) >= 16
    if value.count(" ") > _MOST_BLANKS or value[0] in "{[<" or "://" in value:
        return False
    has_letter = any(map(str.isalpha, value))
    if has_letter and any(map(str.isdigit, value)):
        return True
    if " " in value or not has_letter:
        return False
    return not _SIGNS.isdisjoint(value) or looks_random(value)


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is right by Luhn's formula."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


_BETWEEN = re.compile("[ \u00a0\u202f\u2011-]")
_NETWORKS = re.compile(
    r"4[0-9]{15}|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|220[0-4][0-9]{12}|"
    r"3[47][0-9]{13}|3(?:0[0-5]|[689][0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}|"
    r"(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}|"
    r"62[0-9]{14}|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{12}|(?:508[0-9]|6069|6521|8[12][0-9]{2})[0-9]{12}"
)


def is_card(text: str, *, named: bool = False) -> bool:
    """Whether a text is a payment card's number; ``named`` where its field's name says so already."""
    digits = text if text.isdigit() else _BETWEEN.sub("", text)
    if not digits.isdigit() or not digits.isascii() or not (12 <= len(digits) <= 19):
        return False
    return passes_luhn(digits) and (named or bool(_NETWORKS.fullmatch(digits)))


_IBAN_LENGTHS = dict(
    pair.split(":")
    for pair in (
        "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DK:18 DO:28 "
        "EE:20 EG:29 ES:24 FI:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 "
        "IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MR:27 MT:31 MU:30 "
        "NL:18 NO:15 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 SA:24 SC:31 SE:24 SI:19 SK:24 SM:27 ST:25 SV:28 TL:23 "
        "TN:24 TR:26 UA:29 VA:22 VG:24 XK:20"
    ).split()
)


def is_iban(text: str) -> bool:
    """Whether a text is an IBAN: a country's length, and check digits that are right."""
    bare = text.replace(" ", "").upper()
    if not bare.isascii() or not bare.isalnum() or str(len(bare)) != _IBAN_LENGTHS.get(bare[:2]):
        return False
    return iban_remainder(bare) == 1


def iban_remainder(bare: str) -> int:
    """The remainder of an IBAN by 97, which is 1 where its check digits are right (ISO 13616)."""
    return int("".join(str(int(character, 36)) for character in bare[4:] + bare[:4])) % 97


def is_phone(text: str) -> bool:
    """Whether a text can be a phone number, where its field's name says that it is one."""
    digits = sum(map(str.isdigit, text))
    return 6 <= digits <= 15 and bool(re.fullmatch(r"\+?[\d\s()/.x\u2011\u2013-]{6,30}", text))


def _is_words(text: str) -> bool:
    """Whether letters follow each other as they do in words, and are seldom broken by numbers."""
    pairs = total = 0
    for match in _SEGMENTS.finditer(text):
        segment = match[0].lower()
        pairs += len(segment) - 1
        total += sum(_OFTEN[pair] for pair in itertools.pairwise(segment))
    letters = sum(map(str.isalpha, text))
    if pairs < _MOST_PAIRS * letters or total < _OFTENER * pairs:
        return False
    return letters == len(text) or len(_NUMBERS.findall(text)) * _LENGTH_PER_NUMBER <= len(text)


def _alternates(word: str) -> bool:
    """Whether letters of both cases and digits alternate as chance has them, rather than as words and numbers do."""
    kinds = [0 if c.islower() else 1 if c.isupper() else 2 if c.isdigit() else 3 for c in word]
    changes = sum(a != b and (a, b) != (1, 0) for a, b in itertools.pairwise(kinds))  # but for a word's capital
    return changes >= _CHANCE * len(kinds)
