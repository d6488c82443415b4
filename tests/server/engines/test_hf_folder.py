"""Folders as transformers writes them, in memory, in; what transformers itself would load, out."""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import numpy as np  # noqa: E402

from security.weights import open_pack  # noqa: E402
from server.config import load_settings  # noqa: E402
from server.engines.hf_folder import load_model, load_processor, load_tokenizer  # noqa: E402
from server.packs import make_pack_keys, pack_trust  # noqa: E402
from server.provision import engine_of, seal  # noqa: E402
from server.recognition import ModelError  # noqa: E402
from tests.hf_models import files_in, write_qwen3_asr, write_whisper  # noqa: E402


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return write_qwen3_asr(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def sharded_qwen(tmp_path_factory):
    return write_qwen3_asr(tmp_path_factory.mktemp("sharded"), shard_bytes=100_000)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return write_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture
def sealed(qwen, tmp_path):
    """A function that seals a folder and gives its opened pack."""
    opened = []

    def seal_and_open(folder):
        settings = load_settings(data_folder=tmp_path / folder.name, model="qwen")
        make_pack_keys(settings)
        files = {path.name: path for path in folder.iterdir()}
        seal(settings, model_id="qwen", engine=engine_of(files), version=1, files=files)
        opened.append(open_pack(settings.pack_folder, pack_trust(settings)))
        return opened[-1]

    yield seal_and_open
    for pack in opened:
        pack.wipe()


def changed(folder, name, **fields):
    files = files_in(folder)
    described = json.loads(bytes(files[name])) | fields
    kept = {key: value for key, value in described.items() if value is not None}
    return files | {name: memoryview(json.dumps(kept).encode())}


def lies_in(tensor, files):
    start = tensor.data_ptr()
    for content in files.values():
        base = np.frombuffer(content, np.uint8).ctypes.data if len(content) else 0
        if base <= start < base + len(content):
            return True
    return False


def assert_same_model(loaded, folder):
    expected = type(loaded).from_pretrained(folder)
    for kind in ("named_parameters", "named_buffers"):
        ours, theirs = dict(getattr(loaded, kind)()), dict(getattr(expected, kind)())
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert all(ours[name].dtype == theirs[name].dtype for name in ours)
    assert loaded.generation_config.to_dict() == expected.generation_config.to_dict()
    assert not loaded.training


@pytest.mark.parametrize("name", ["qwen", "sharded_qwen"])
def test_a_sealed_folder_becomes_the_model_that_the_plain_one_is(name, sealed, request):
    folder = request.getfixturevalue(name)
    pack = sealed(folder)
    assert pack.card.engine == "transformers"
    model = load_model(pack.files)
    assert_same_model(model, folder)
    assert all(lies_in(parameter, pack.files) for parameter in model.parameters())


def test_it_says_the_same_as_the_plain_one(qwen):
    ours = load_model(files_in(qwen))
    theirs = transformers.Qwen3ASRForConditionalGeneration.from_pretrained(qwen)
    tokens = torch.tensor([[7, 8, 9, 10, 11]])
    with torch.inference_mode():
        assert torch.equal(ours(input_ids=tokens).logits, theirs(input_ids=tokens).logits)


def test_whisper_becomes_the_model_that_the_plain_one_is(whisper):
    files = files_in(whisper)
    model = load_model(files)
    assert_same_model(model, whisper)
    assert all(lies_in(parameter, files) for parameter in model.parameters())


def test_the_tokenizer_and_the_processor_are_those_of_the_folder(qwen):
    ours = load_processor(files_in(qwen))
    theirs = transformers.AutoProcessor.from_pretrained(qwen)
    text = "the quick brown fox <|audio_pad|>"
    assert ours.tokenizer(text)["input_ids"] == theirs.tokenizer(text)["input_ids"]
    assert ours.tokenizer.eos_token_id == theirs.tokenizer.eos_token_id
    assert ours.audio_token_id == theirs.audio_token_id
    assert ours.chat_template == theirs.chat_template
    assert ours.feature_extractor.to_dict() == theirs.feature_extractor.to_dict()
    audio = np.zeros(16_000, np.float32)
    assert ours(text=text, audio=audio).keys() == theirs(text=text, audio=audio).keys()


def test_a_feature_extractor_in_a_file_of_its_own_is_found(qwen):
    files = files_in(qwen)
    described = json.loads(bytes(files.pop("processor_config.json")))
    extractor = described["feature_extractor"] | {"processor_class": "Qwen3ASRProcessor"}
    files["preprocessor_config.json"] = memoryview(json.dumps(extractor).encode())
    files.pop("chat_template.jinja")
    template = json.dumps({"chat_template": "{{ messages }}"}).encode()
    files["chat_template.json"] = memoryview(template)
    processor = load_processor(files)
    assert processor.chat_template == "{{ messages }}"
    assert processor.feature_extractor.feature_size == 128


@pytest.mark.parametrize(
    "fields",
    [
        {"architectures": ["BertModel"]},
        {"architectures": []},
        {"architectures": None},
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"model_type": "bert"},
        {"model_type": None},
        {"text_config": {"model_type": "qwen3", "hidden_size": 64, "vocab_size": 400}},
        {"audio_config": 3},
    ],
)
def test_a_configuration_that_is_not_the_checkpoints_is_refused(qwen, fields):
    with pytest.raises(ModelError):
        load_model(changed(qwen, "config.json", **fields))


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "tokenizer.json", "processor_config.json"]
)
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff{"])
def test_a_file_that_is_missing_or_damaged_is_refused(qwen, name, content):
    files = files_in(qwen)
    if content is None:
        del files[name]
    else:
        files[name] = memoryview(content)
    with pytest.raises(ModelError):
        load_model(files) if name == "config.json" else load_processor(files)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "processor_config.json"])
def test_code_that_comes_with_a_model_is_not_run(qwen, name):
    with pytest.raises(ModelError, match="not run"):
        load_processor(changed(qwen, name, auto_map={"AutoTokenizer": ["evil.Tokenizer", None]}))


def test_a_processor_of_another_kind_is_refused(qwen):
    with pytest.raises(ModelError):
        load_processor(changed(qwen, "processor_config.json", processor_class="ClipProcessor"))


def test_a_tokenizer_needs_no_processor(qwen):
    assert load_tokenizer(files_in(qwen))("fox")["input_ids"]
