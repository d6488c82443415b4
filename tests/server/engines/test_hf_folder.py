"""Folders as transformers writes them, in memory, in; what transformers itself would load, out."""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import numpy as np  # noqa: E402
from safetensors.torch import load, save  # noqa: E402

from security.weights import open_pack  # noqa: E402
from server.config import load_settings  # noqa: E402
from server.engines.hf_folder import load_model, load_processor, load_tokenizer  # noqa: E402
from server.model_folder import engine_of  # noqa: E402
from server.packs import make_pack_keys, pack_trust  # noqa: E402
from server.provision import seal  # noqa: E402
from server.recognition import ModelError  # noqa: E402
from tests.hf_models import (  # noqa: E402
    files_in,
    write_aligner,
    write_qwen3_asr,
    write_whisper,
)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return write_qwen3_asr(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def sharded_qwen(tmp_path_factory):
    return write_qwen3_asr(tmp_path_factory.mktemp("sharded"), shard_bytes=100_000)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return write_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def aligner(tmp_path_factory):
    return write_aligner(tmp_path_factory.mktemp("aligner"))


@pytest.fixture
def sealed(qwen, tmp_path):
    """A function that seals a folder and gives its opened pack."""
    opened = []

    def seal_and_open(folder):
        settings = load_settings(data_folder=tmp_path / folder.name, model="qwen")
        make_pack_keys(settings)
        files = {path.name: path for path in folder.iterdir()}
        seal(settings, engine=engine_of(files), version=1, files=files)
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


def with_tensor(folder, name, tensor):
    files = files_in(folder)
    tensors = load(bytes(files["model.safetensors"])) | {name: tensor}
    return files | {"model.safetensors": memoryview(save(tensors))}


def lies_in(tensor, files):
    start = tensor.data_ptr()
    for content in files.values():
        base = np.frombuffer(content, np.uint8).ctypes.data if len(content) else 0
        if base <= start < base + len(content):
            return True
    return False


def generation_of(model):
    config = getattr(model, "generation_config", None)
    return config and config.to_dict()


def assert_same_model(loaded, folder):
    expected = type(loaded).from_pretrained(folder)
    for kind in ("named_parameters", "named_buffers"):
        ours, theirs = dict(getattr(loaded, kind)()), dict(getattr(expected, kind)())
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert all(ours[name].dtype == theirs[name].dtype for name in ours)
    assert generation_of(loaded) == generation_of(expected)
    assert not loaded.training


@pytest.mark.parametrize("name", ["qwen", "sharded_qwen"])
def test_a_sealed_folder_becomes_the_model_that_the_plain_one_is(name, sealed, request):
    folder = request.getfixturevalue(name)
    pack = sealed(folder)
    assert pack.card.engine == "transformers"
    model = load_model(pack.files)
    assert_same_model(model, folder)
    assert all(lies_in(parameter, pack.files) for parameter in model.parameters())


def heard(model, processor, seed):
    generator = np.random.default_rng(seed)
    sound = generator.normal(0, 0.1, 3 * 16_000).astype(np.float32)
    inputs = processor(text="the <|audio_start|><|audio_pad|><|audio_end|> fox", audio=sound)
    tensors = {name: torch.as_tensor(np.asarray(part)) for name, part in inputs.items()}
    tensors["input_features"] = tensors["input_features"].to(model.dtype)
    with torch.inference_mode():
        return model(**tensors).logits


@pytest.mark.parametrize("name", ["qwen", "sharded_qwen", "aligner"])
@pytest.mark.parametrize("seed", [1, 2])
def test_it_hears_the_same_as_the_plain_one_bit_for_bit(name, seed, qwen, request):
    folder = request.getfixturevalue(name)
    processor = transformers.AutoProcessor.from_pretrained(qwen)
    ours = load_model(files_in(folder))
    theirs = type(ours).from_pretrained(folder)
    logits = heard(ours, load_processor(files_in(qwen)), seed)
    assert logits.isfinite().all()
    assert torch.equal(logits, heard(theirs, processor, seed))


def test_whisper_hears_the_same_as_the_plain_one_bit_for_bit(whisper):
    ours = load_model(files_in(whisper))
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(whisper)
    sound = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[1, 7, 8, 9]])
    with torch.inference_mode():
        mine = ours(input_features=sound, decoder_input_ids=tokens).logits
        assert torch.equal(mine, theirs(input_features=sound, decoder_input_ids=tokens).logits)


@pytest.mark.parametrize("name", ["whisper", "aligner"])
def test_other_models_become_what_the_plain_ones_are(name, request):
    folder = request.getfixturevalue(name)
    files = files_in(folder)
    model = load_model(files)
    assert_same_model(model, folder)
    assert all(lies_in(parameter, files) for parameter in model.parameters())


def test_a_model_in_tensors_is_used_where_it_lies(qwen):
    files = {
        name: torch.frombuffer(bytearray(content), dtype=torch.uint8)
        for name, content in files_in(qwen).items()
    }
    model = load_model(files)
    assert_same_model(model, qwen)
    views = {name: memoryview(content.numpy()) for name, content in files.items()}
    assert all(lies_in(parameter, views) for parameter in model.parameters())


def test_a_stray_tensor_of_another_dtype_is_brought_to_that_of_the_others(qwen):
    name = "model.language_model.norm.weight"
    files = with_tensor(qwen, name, torch.full((32,), 0.5, dtype=torch.float32))
    model = load_model(files)
    assert model.get_parameter(name).dtype == torch.bfloat16
    assert (model.get_parameter(name) == 0.5).all()


def test_whole_numbers_are_no_weights(qwen):
    files = with_tensor(qwen, "model.language_model.norm.weight", torch.ones(32, dtype=torch.int8))
    with pytest.raises(ModelError, match="converted"):
        load_model(files)


def test_weights_that_are_tied_stay_one(qwen):
    model = load_model(files_in(qwen))
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_no_parameter_wants_a_gradient(qwen):
    assert not any(parameter.requires_grad for parameter in load_model(files_in(qwen)).parameters())


def test_another_dtype_that_is_asked_for_is_given(qwen):
    ours = load_model(files_in(qwen), torch.float32)
    theirs = type(ours).from_pretrained(qwen, dtype=torch.float32)
    assert all(
        torch.equal(mine, their) and mine.dtype == their.dtype
        for mine, their in zip(ours.parameters(), theirs.parameters(), strict=True)
    )


def test_a_model_whose_pack_was_wiped_knows_nothing(sealed, qwen):
    pack = sealed(qwen)
    model = load_model(pack.files)
    pack.wipe()
    assert not any(parameter.any() for parameter in model.parameters())


@pytest.mark.parametrize("place", [(), ("text_config",)])
@pytest.mark.parametrize(
    "field", ["attn_implementation", "_attn_implementation", "experts_implementation"]
)
def test_kernels_are_not_chosen_by_the_pack(qwen, place, field):
    described = json.loads(bytes(files_in(qwen)["config.json"]))
    part = described
    for name in place:
        part = part[name]
    part[field] = "somebody/their-kernel"
    assert_same_model(load_model(changed(qwen, "config.json", **described)), qwen)


def test_a_configuration_of_no_quantisation_is_none(qwen):
    files = files_in(qwen)
    described = json.loads(bytes(files["config.json"])) | {"quantization_config": None}
    files["config.json"] = memoryview(json.dumps(described).encode())
    assert_same_model(load_model(files), qwen)


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
        {"text_config": {"model_type": "qwen3", "hidden_size": 64, "vocab_size": 296}},
        {"audio_config": 3},
        {"tie_word_embeddings": False},
        {"architectures": [["Qwen3ASRForConditionalGeneration"]]},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"text_config": {"model_type": "qwen3", "quantization_config": {"quant_method": "fp8"}}},
        {"audio_config": {"auto_map": {"AutoConfig": "evil.Config"}}},
    ],
)
def test_a_configuration_that_is_not_the_checkpoints_is_refused(qwen, fields):
    with pytest.raises(ModelError):
        load_model(changed(qwen, "config.json", **fields))


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "processor_config.json",
    ],
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


@pytest.mark.parametrize(
    "fields",
    [
        {"processor_class": ["Qwen3ASRProcessor"]},
        {"processor_class": 3},
        {"feature_extractor": 3},
        {"unheard_of": 1},
    ],
)
def test_a_processor_that_is_described_wrongly_is_refused(qwen, fields):
    with pytest.raises(ModelError):
        load_processor(changed(qwen, "processor_config.json", **fields))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat_template.jinja", b"\xff"),
        ("chat_template.json", b'{"chat_template": [1]}'),
        ("chat_template.json", b"{"),
    ],
)
def test_a_chat_template_that_is_no_text_is_refused(qwen, name, content):
    files = files_in(qwen)
    del files["chat_template.jinja"]
    with pytest.raises(ModelError):
        load_processor(files | {name: memoryview(content)})


def test_a_processor_needs_no_chat_template(whisper):
    assert load_processor(files_in(whisper)).chat_template is None


def test_whispers_processor_is_that_of_the_folder(whisper):
    ours = load_processor(files_in(whisper))
    theirs = transformers.AutoProcessor.from_pretrained(whisper)
    text = "<|en|> the quick brown fox"
    assert type(ours.tokenizer) is type(theirs.tokenizer)
    assert ours.tokenizer(text)["input_ids"] == theirs.tokenizer(text)["input_ids"]
    prompt = {"language": "en", "task": "transcribe"}
    assert ours.get_decoder_prompt_ids(**prompt) == theirs.get_decoder_prompt_ids(**prompt)
    assert ours.feature_extractor.to_dict() == theirs.feature_extractor.to_dict()


def test_a_tokenizer_as_it_was_described_before_version_5_is_read_the_same(qwen, tmp_path):
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    end = {"content": "<|im_end|>", **flags}
    files = changed(
        qwen,
        "tokenizer_config.json",
        eos_token={"__type": "AddedToken", **end},
        added_tokens_decoder={"2": end | {"special": True}},
        extra_special_tokens=None,
        additional_special_tokens=["<|im_start|>", {"__type": "AddedToken", **end}],
    )
    for name, content in files.items():
        if "token" in name:
            (tmp_path / name).write_bytes(content)
    ours = load_tokenizer(files)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = "<|im_start|>fox<|im_end|> <asr_text>lazy"
    ids = ours(text)["input_ids"]
    assert ids == theirs(text)["input_ids"]
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(
        ids, skip_special_tokens=True
    )
    assert ours.eos_token_id == theirs.eos_token_id == 2


@pytest.mark.parametrize("field", ["normalizer_file", "vocab_file", "gguf_file", "merges_file"])
def test_no_file_is_read_because_a_tokenizer_names_it(whisper, field):
    files = changed(whisper, "tokenizer_config.json", **{field: "/nowhere/to-be-found"})
    assert load_tokenizer(files)("fox")["input_ids"]
