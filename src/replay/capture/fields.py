"""Which fields hold secrets, by their names and, where a name says little, by how the value looks."""

import re
import unicodedata
from enum import Enum, auto
from functools import lru_cache

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_LONGEST_NAME = 256
_JOINED = 5  # `p.w` is no `pw`


class Says(Enum):
    """What a field's name says about its value."""

    SECRET = auto()  # it is one
    PERHAPS = auto()  # it is one if it looks like one
    ADDRESS = auto()  # a client's IP address
    PHONE = auto()  # a phone number, however it is written
    CARD = auto()  # a payment card's number
    IBAN = auto()  # a bank account's number, however it is written
    COOKIES = auto()  # what a header of cookies holds
    ID = auto()  # an id, a digest or a cursor: it opens nothing, however random it looks
    NOTHING = auto()


_SECRET_WORDS = frozenset(
    "token tokens secret secrets password passwords passwort kennwort passwd pwd pass passphrase passcode apikey jwt "
    "otp totp authorization bearer credential credentials assertion sessid csrf xsrf signature sig hmac mnemonic cvv "
    "cvc cvv2 cvc2 pin tan samlresponse samlrequest authtoken dsn seedphrase ssn sas pw pswd passw psw passwrd mdp "
    "xauth "
    # of other languages, without their accents
    "passworter kennworter geheimnis contrasena contrasenas motdepasse motpasse senha senhas wachtwoord heslo haslo "
    "hasla salasana losenord adgangskode kodeord passord jelszo parool geslo lozinka sifre parol sandi "
    "katasandi".split()
)
_SECRETS_IN_OTHER_SCRIPTS = re.compile(
    "парол|κωδικ[οό]ς|密码|密碼|口令|パスワード|暗証番号|비밀번호|암호|"  # Cyrillic to Korean
    "סיסמה|סיסמא|كلمة.?(?:المرور|السر)|पासवर्ड|รหัสผ่าน"
)
# Words that as often name something else (a season's pass, a pin on a map, a colour): no labels of a secret.
_WEAK = frozenset("pass pin tan sig sas ssn dsn pw token tokens signature".split())
_SECRET_ENDINGS = tuple(
    "token secret password passwd passphrase passwort kennwort pwd motdepasse katasandi apikey accesskey secretkey "
    "privatekey privkey authkey signingkey subscriptionkey sessionkey accountkey encryptionkey masterkey sharedkey "
    "functionskey licensekey licencekey activationkey deploykey storagekey clientkey hmackey jwtkey servicekey "
    "webhookkey sshkey secretkeybase accesskeyid jsessionid phpsessid netsessionid sessid connectionstring seedphrase "
    "securitycode recoverycode recoverycodes backupcode backupcodes verificationcode codeverifier mfacode onetimecode "
    "pincode devicecode usercode passwordhash magiclink authheader dbpass smtppass userpass loginpass authpass".split()
)
# What may follow the word that says it: a secret's text is the secret.
_FORMS = frozenset(
    "value string text plain plaintext raw hash digest b64 base64 encoded encrypted enc base hex".split()
)
_PASSWORD_WORDS = frozenset({"password", "passwd", "passphrase"})
_PASSWORD_ADDITIONS = frozenset("confirmation confirm confirmed again repeat repeated new old current 1 2".split())
# `next_page_token` is a cursor: it opens nothing.
_CURSOR_WORDS = frozenset("page next prev previous cursor continuation pagination sync pagetoken".split())
# Words that name secrets in one API and a talk, a voucher or a sort key in another: the value decides.
_PERHAPS = frozenset("code session sessionid sid key auth state nonce salt ticket relaystate challenge".split())
_PERHAPS_ENDINGS = (("session", "id"), ("session", "code"), ("auth", "code"), ("authorization", "code"))
_DIGESTS = re.compile("sha(?:1|224|256|384|512)|md5|crc32")
_NUMBERED = frozenset(
    "order invoice tracking serial ticket case reference shipment parcel customer batch receipt".split()
)
_ID_WORDS = frozenset(
    "id ids uuid guid ulid oid gid jti hash hashes digest etag checksum sha sha1 sha256 sha512 md5 crc commit commits "
    "revision rev version trace traceparent span cursor after before offset continuation fingerprint integrity slug "
    "ord order orderno ordernumber ean gtin isbn upc asin imei serial tracking build boundary filename sku identifier "
    "blob tree object objects".split()
)
_PHONE_WORDS = frozenset("phone telephone mobile cell fax msisdn tel telefon handy phonenumber whatsapp".split())
_COOKIES = frozenset({"cookie", "cookies", "setcookie"})
_CARD_NAMES = frozenset("card cardnumber cardno ccnumber ccnum creditcard creditcardnumber pan cardpan cc".split())
_ADDRESSES = frozenset(
    "ip ips ipaddress ipaddresses ipv4 ipv6 clientip remoteip remoteaddr remoteaddress xforwardedfor xrealip "
    "xclientip trueclientip cfconnectingip xclusterclientip fastlyclientip forwarded xoriginalforwardedfor "
    "forwardedfor realip connectingip sourceip userip peerip cfconnectingipv6 xenvoyexternaladdress ipaddr "
    "clientaddress xazureclientip flyclientip loginip lastip lastloginip customerip".split()
)
# A segment of a path that says what the next one is.
_SECRET_PLACES = frozenset(
    "token tokens reset verify confirm confirmation activate activation invite invites invitation invitations magic "
    "unsubscribe password key keys secret secrets session sessions otp share".split()
)
_ID_PLACES = frozenset(
    "commit commits blob blobs tree sha hash hashes digest etag trace traces object objects static assets build "
    "builds chunks digests manifests revisions revision".split()
)
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{16,}={0,2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def is_secret(name: str, value: str) -> bool:
    """Whether the field ``name`` (of a header, query, form or JSON object) with this ``value`` holds a secret."""
    says = name_says(name)
    return says is Says.SECRET or (says is Says.PERHAPS and is_opaque(value))


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret whatever its value."""
    return name_says(name) is Says.SECRET


@lru_cache(maxsize=16384)
def name_says(name: str) -> Says:
    """What a field's name says about its value."""
    name = name[:_LONGEST_NAME]
    if not name.isascii():
        if _SECRETS_IN_OTHER_SCRIPTS.search(name.lower()):
            return Says.SECRET
        name = _without_accents(name)
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return Says.NOTHING
    if _CURSOR_WORDS & set(words):
        return Says.ID
    joined, last = "".join(words), words[-1]
    if joined in _ADDRESSES:
        return Says.ADDRESS
    if _says_secret(words) or (last in _PASSWORD_ADDITIONS and _PASSWORD_WORDS & set(words)):
        return Says.SECRET
    if joined in _PERHAPS or tuple(words[-2:]) in _PERHAPS_ENDINGS:
        return Says.PERHAPS
    return _says_what(joined, words)


def _says_what(joined: str, words: list[str]) -> Says:
    last = words[-1]
    before = words[-2] if len(words) > 1 and last in {"number", "no", "nr", "num"} else ""
    if joined in _CARD_NAMES or joined.endswith(("cardnumber", "cardno")):
        return Says.CARD
    if joined.endswith("iban"):
        return Says.IBAN
    if joined in _COOKIES:
        return Says.COOKIES
    if last in _PHONE_WORDS or before in _PHONE_WORDS:
        return Says.PHONE
    if before in _NUMBERED or last in _ID_WORDS or "".join(words[-2:]) in _ID_WORDS or _DIGESTS.search(joined):
        return Says.ID
    return Says.NOTHING


@lru_cache(maxsize=16384)
def label_says(label: str) -> Says:
    """What a label says of the value beside it: ``{"name": "api_key", "value": ...}``, ``"path": "/user/password"``.

    A label is also what people read, so only what is a name, and says it plainly, counts.
    """
    name = label.strip("/").rpartition("/")[2]
    says = name_says(name) if name and " " not in name else Says.NOTHING
    if says is Says.SECRET:
        words = _WORDS.findall(_without_accents(name))
        return Says.NOTHING if len(words) == 1 and words[0].lower() in _WEAK else says
    return says if says in {Says.PHONE, Says.CARD, Says.ADDRESS, Says.IBAN} else Says.NOTHING


def _says_secret(words: list[str]) -> bool:
    joined = "".join(words)
    if words[-1] in _SECRET_WORDS or joined.endswith(_SECRET_ENDINGS):
        return True
    if any(len(name) >= _JOINED and name in _SECRET_WORDS for name in (joined, "".join(words[-2:]))):
        return True
    return len(words) > 1 and (words[-1] in _FORMS or words[-1].isdigit()) and _says_secret(words[:-1])


def _without_accents(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.replace("ł", "l").replace("Ł", "L").replace("ß", "ss").replace("ø", "o"))
    return "".join(character for character in plain if not unicodedata.combining(character))


@lru_cache(maxsize=4096)
def place_says(segment: str) -> Says:
    """What a segment of a path says about the one behind it: ``/reset-password/...``, ``/commits/...``."""
    words = {word.lower() for word in _WORDS.findall(segment[:_LONGEST_NAME])}
    if words & _SECRET_PLACES:
        return Says.PERHAPS
    return Says.ID if words & _ID_PLACES else Says.NOTHING


def is_opaque(value: str) -> bool:
    """Whether a value looks like a key or a session: long, letters and digits mixed within a word, no date, no slug."""
    if _UUID.fullmatch(value):
        return True
    if not _OPAQUE.fullmatch(value) or _DATE.match(value):
        return False
    words = re.split(r"[-_]", value.rstrip("="))
    return any(len(word) >= 12 and not word.isalpha() and not word.isdigit() for word in words)


def is_uuid(value: str) -> bool:
    """Whether a value is a UUID with its hyphens."""
    return bool(_UUID.fullmatch(value))
