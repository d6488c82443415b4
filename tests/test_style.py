"""What a linter does not know about this project: shape, names, and what no file may hold."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("server", "client", "security", "web", "bench", "docs", "tests", ".ci")
TEXT_SUFFIXES = {".css", ".html", ".js", ".json", ".md", ".py", ".svg", ".toml", ".txt", ".yml"}
TEXT_NAMES = {".gitignore", "LICENSE", "Makefile", "asterisk", "clients", "run"}
MOST_LINES = 400
ONE_FILE = {"security/verify_trail.py"}  # copied and run alone by whoever does not trust the rest
NAMELESS = {"utils", "helpers", "common", "manager", "base"}
WRITERS = {
    "bench/autobahn.py",  # a published test suite, and what it needs to run
    "bench/calls_wer.py",  # a secret of its own, shared with its server
    "bench/fuzz.py",  # a fuzzer's first inputs
    "bench/month.py",  # a trail of made-up callers
    "bench/page_wer.py",  # recordings in a row, for a browser's microphone
    "bench/peers.py",  # a public model, for servers that cannot open packs, and their logs
    "bench/scoring.py",  # figures
    "client/program.py",  # the null device, for a pipe that closed
    "client/outputs.py",  # what was said, where its user wants it
    "docs/examples/obs_captions.py",  # the newest caption
    "security/audit_lock.py",  # an empty file, for turns
    "security/audit_schema.py",  # the trail
    "security/durable.py",  # keys, sealed files, manifests
    "security/trail_keys.py",  # the running key of the chain, and its head
    "security/trail_notes.py",  # signed checkpoints
    "security/revocation_file.py",  # ids of what was revoked
    "server/audit_commands.py",  # what an administrator takes out of the trail
    "server/doctor/chain.py",  # nothing: it opens a file to see whether it could
    "server/embedded.py",  # a wheel, from a folder into the scratch folder
    "server/provision.py",  # the demo's own recording
}
"""All that may write: neither a caller's audio nor a plain model has a way to the disk."""
WRITING_CALLS = {"write_bytes", "write_text", "tofile", "savez", "memmap", "fdopen"}
NEEDS_A_UNIT = {
    "age",
    "delay",
    "duration",
    "elapsed",
    "interval",
    "latency",
    "length",
    "offset",
    "period",
    "position",
    "rate",
    "size",
    "timeout",
}
NAMED_BY_A_FORMAT = {
    "former_size",
    "plain_size",
    "size",
}  # of a pack in its manifest; of a tree in rows, C2SP
HOSTS = (  # reserved names, and what a licence or a standard is known by
    *(".test", ".example", ".invalid", ".evil", ".evil.com"),
    *(".apache.org", ".w3.org", ".keepachangelog.com", ".semver.org"),
)
MACHINE_PATH = re.compile(r"(?<![\w.~})>/])/(?:work|tmp|home|root|opt|mnt|srv|Users)/")
INDEX_OPTION = re.compile(r"(?:extra|default)?[-_]?index[-_]url|find[-_]links", re.IGNORECASE)
URL_HOST = re.compile(r"\b(?:https?|wss?)://((?:[\w-]+\.)+[a-z]+)")


def texts():
    files = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        files += (ROOT / folder).rglob("*")
    for path in sorted(files):
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def sources(suffix=".py"):
    return [
        (name, text)
        for name, text in texts()
        if name.endswith(suffix) and not name.startswith("tests/")
    ]


def modules():
    return [(name, ast.parse(text)) for name, text in sources()]


def is_writing(node):
    match node:
        case ast.Attribute(attr="O_CREAT" | "O_WRONLY" | "O_RDWR"):
            return True
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in WRITING_CALLS:
            return True
        case ast.Call(func=ast.Attribute(attr="open") | ast.Name(id="open")):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            modes = [a.value for a in arguments if isinstance(a, ast.Constant)]
            return any(
                isinstance(m, str) and re.fullmatch(r"[rwaxbt+]*[wax+]\S*", m) for m in modes
            )
    return False


def quantities(module):
    for node in ast.walk(module):
        if isinstance(node, ast.arg) and node.annotation is not None:
            yield node.arg, node.annotation
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation


def test_no_file_is_too_long_to_be_read_in_one_go():
    every = [*sources(), *sources(".js"), *sources(".css")]
    longest = {name: len(text.splitlines()) for name, text in every if name not in ONE_FILE}
    assert [name for name, n_lines in longest.items() if n_lines > MOST_LINES] == []


def test_every_module_says_what_comes_in_and_what_goes_out():
    silent = [name for name, module in modules() if not ast.get_docstring(module)]
    silent += [name for name, text in sources(".js") if not text.startswith(("//", "/*"))]
    assert silent == []


def test_packages_import_nothing():
    packages = [(name, module) for name, module in modules() if name.endswith("__init__.py")]
    assert packages
    assert [name for name, module in packages if any(is_import(n) for n in ast.walk(module))] == []


def is_import(node):
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_every_file_has_a_name_of_its_own():
    assert [name for name, _ in texts() if NAMELESS & set(re.split(r"[/.]", name))] == []


def test_only_known_modules_write_files():
    writers = {name for name, module in modules() for node in ast.walk(module) if is_writing(node)}
    assert writers == WRITERS


def test_every_quantity_carries_its_unit():
    bare = [
        f"{name}: {quantity}"
        for name, module in modules()
        for quantity, annotation in quantities(module)
        if quantity.split("_")[-1] in NEEDS_A_UNIT
        and quantity not in NAMED_BY_A_FORMAT
        and {"int", "float"} & {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)}
    ]
    assert bare == []


def test_no_file_names_a_place_on_one_machine():
    assert [name for name, text in texts() if MACHINE_PATH.search(text)] == []


def test_no_file_names_a_host_that_is_not_ours_to_name():
    foreign = [
        f"{name}: {host}"
        for name, text in texts()
        for host in URL_HOST.findall(text)
        if not f".{host}".endswith(HOSTS)
    ]
    foreign += [name for name, text in texts() if INDEX_OPTION.search(text)]
    assert foreign == []
