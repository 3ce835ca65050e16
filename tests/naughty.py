"""Strings that break programs, by kind; and JSON texts that do. Written for this project."""

# ruff: noqa: E501 - lists of data
from __future__ import annotations

EMPTY_AND_BLANK = [
    "",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\v",
    "\f",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\ufeff",
    "\u200b",
    "\u2060",
]
WORDS = [
    "null", "NULL", "nil", "None", "undefined", "true", "True", "TRUE", "false", "NaN", "Infinity", "-Infinity", "nan",
    "inf", "yes", "no", "on", "off", "N/A", "#N/A", "#REF!", "#DIV/0!", "void", "constructor", "__proto__", "prototype",
    "hasOwnProperty", "toString", "__class__", "self", "$ref", "$id", "_id", "id", "CON", "PRN", "AUX", "NUL", "COM1",
]  # fmt: skip
NUMBERS = [
    "0", "-0", "+1", "007", "1.10", "1e3", "1E400", "-1e-400", "0x10", "0b1", "1_000", "1,000", "1.000,00", "１２３",
    "2147483648", "9223372036854775808", "18446744073709551616", "123456789012345678901234567890", "0.1", ".5", "5.",
    "1/2", "½", "٣", "Ⅷ", "1e", "--1", "1-1", "00:00", "2026-02-30", "1900-02-29", "60:60:60", "9" * 400,
]  # fmt: skip
CONTROLS = [chr(code) for code in range(1, 32)] + [
    "\x7f",
    "\x80",
    "\x85",
    "\x9f",
    "a\x08b",
    "a\x1bc",
    "\x1b[31mred\x1b[0m",
]
NUL = ["\0", "a\0", "\0a", "a\0b", "\0\0"]
UNICODE = [
    "é", "e\u0301", "ﬁ", "ß", "İ", "ı", "ſ", "Å", "Å", "Ω", "日本語", "部落格", "사회과학원", "Ελληνικά", "Русский",
    "العربية", "עברית", "हिन्दी", "ไทย", "ქართული", "𐐀", "𝒳", "𠜎𠜱𠝹", "ﷺ", "ﷺ" * 20, "\u2028", "\u2029", "\ufffd",
    "\ufffe", "\uffff", "\U0001ffff", "\U0010ffff", "\ue000", "\U000f0000", "Ṱ̺̺̕o͞ ̷i̲̬͇̪͙n̝̗͕v̟̜̘̦͟o̶̙̰̠kè͚̮̺̪̹̱̤", "a" + "\u0301" * 300,
]  # fmt: skip
DIRECTIONS = [
    "\u202eabc",
    "\u202dabc",
    "\u2066x\u2069",
    "\u200f",
    "\u200eabc",
    "abc\u202e.exe",
    "مُنَاقَشَةُ",
    "\u061c",
    "test\u202b",
]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👨🏿", "🇺🇸", "1️⃣", "❤️", "🐵🙈🙉🙊", "\U0001f9d1\u200d", "\ufe0f", "💩" * 50]
SQL = [
    "'", "''", '"', "`", "'; DROP TABLE events; --", "1' OR '1'='1", "x'||pg_sleep(1)||'", "%s", "%(x)s", "$1", ":name",
    "?", "\\", "\\'", "/*", "*/", "--", "$$", "E'\\x41'", "%", "_", "\\x00", "{}", "{a,b}", "ROW(1)", "::text", "\\N",
]  # fmt: skip
MARKUP = [
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;", "&amp;amp;",
    "&#0;", "<!--", "-->", "]]>", "<![CDATA[x]]>", "<?xml?>", "<svg/onload=alert(1)>", "javascript:alert(1)", '" onclick="x',
    "' onfocus='x", "{{7*7}}", "{% raw %}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "<a href='x'>", "\u003cb\u003e", "<" * 200,
]  # fmt: skip
FORMULAS = [
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "'=1+1", "''", "=cmd|'/C calc'!A0",
    '=HYPERLINK("http://evil.example","x")', "=IMPORTXML(1)", "＝1+1", "＋1", "@", "=", "+", "-", "|", "%0A=1+1", '"=1+1"',
    ";=1+1", ",=1+1", "+49 30 1234", "-5", "'007", "'", "' ", "'=x", "'''=x",
]  # fmt: skip
SEPARATORS = [
    ",",
    ";",
    '"',
    '""',
    '","',
    "a,b",
    'a"b',
    "a\nb",
    "a\r\nb",
    "a\rb",
    "\r",
    '"\n"',
    ' "x" ',
    "a;b",
    "a\tb",
    "|",
    "\x1e",
]
PATHS = [
    ".", "..", "/", "//", "a/b", "../../etc/passwd", "..\\..\\x", "C:\\", "~", "~root", "/dev/null", "file:///etc/passwd",
    "%2e%2e%2f", "%00", "%", "%zz", "%FF", "a?b", "a#b", "a&b=c", "a+b", "http://[::1", "\\\\host\\share", "-rf", "--help", "*",
]  # fmt: skip
SHELL = [
    "$HOME",
    "$(id)",
    "`id`",
    "; id",
    "| id",
    "&& id",
    "> x",
    "!!",
    "\\n",
    "\\0",
    "$'\\x41'",
    "a\\",
    "^C",
    "eval(1)",
]
FORMATS = [
    "%d",
    "%n",
    "%s%s%s%s",
    "%x",
    "{0}",
    "{}",
    "{x.__class__}",
    "{!r}",
    "%1$s",
    "${jndi:ldap://x}",
    "%p",
    "%*d",
    "{:>9999}",
]
FIELD_LIKE = [
    "Result", "Message", "Record ID", "Email or Name", "Link", "Action", "x (Before)", "x (After)", "Result (Before)", "a.b",
    "a[0]", "/a", "~0", "~1", "a\nb", "field", "Field", "FIELD", "field ", " field", "fiéld", "fie\u0301ld",
]  # fmt: skip
LONG = [
    "x" * 255,
    "x" * 256,
    "x" * 10_000,
    "é" * 5_000,
    "👍" * 3_000,
    " " * 1_000,
    "\n" * 1_000,
    '"' * 3_000,
    "\\" * 3_000,
]

TEXTS: list[str] = list(
    dict.fromkeys(
        EMPTY_AND_BLANK + WORDS + NUMBERS + CONTROLS + NUL + UNICODE + DIRECTIONS + EMOJI + SQL + MARKUP + FORMULAS
        + SEPARATORS + PATHS + SHELL + FORMATS + FIELD_LIKE + LONG
    )
)  # fmt: skip
"""Every string that UTF-8 can hold."""

VALUES: list[bytes] = [
    b"0", b"-0", b"0.0", b"-0.0", b"1.10", b"1.0", b"1e0", b"1E+2", b"1e400", b"-1e400", b"1e-400", b"5e-324",
    b"9007199254740993", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809",
    b"18446744073709551616", b"1" * 30, b"1" * 400, b"1" * 5_000, b"0." + b"1" * 400, b"3.14159265358979323846264338327950288",
    b"true", b"false", b"null", b"[]", b"{}", b"[[]]", b'{"":""}', b'{"a":{"b":[1,2.50,null]}}', b'"1"', b'"1.10"',
    b"[1,1.0,\"1\",true,null]", b"[" * 30 + b"]" * 30, b'{"a":' * 30 + b"1" + b"}" * 30,
]  # fmt: skip
"""JSON values, canonical text."""

BAD_VALUES: list[bytes] = [
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"undefined", b"'x'", b"01", b"+1", b".5", b"5.", b"0x10", b"1_0", b"--1", b"1e",
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\x41"', b'"\x00"', b'"\n"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"', b'"', b"[", b"{", b"[1,]", b"{,}", b'{"a":1,}', b'{"a":1,"a":2}', b"{a:1}", b"[1 2]", b"tru", b"",
    b"[" * 100 + b"]" * 100, b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 70 + b"1" + b"}" * 70,
]  # fmt: skip
"""Texts that are not JSON, or that nobody could keep exactly."""
