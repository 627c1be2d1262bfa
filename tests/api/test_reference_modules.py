"""Folders of sentence-transformers give what it gives: modules, settings of texts, prompts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

import torch
from reference_models import DIM, differences, edit, save_model, save_transformer, tokenizer
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from torch import nn

from nestling.encoder import Encoder
from nestling.errors import ModelError
from nestling.models.convert import Conversion, convert_folder

pytestmark = pytest.mark.filterwarnings("ignore::nestling.errors.TruncationWarning")

NEAR = 2e-6
PROMPTS = {"query": "query: Search the ", "document": "the [UNK]"}
TOKENIZER, SENTENCE = "tokenizer_config.json", "sentence_bert_config.json"
OWN = "config_sentence_transformers.json"

Change = Callable[[Path], object]
Save = Callable[..., Path]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_transformer(tmp_path_factory.mktemp("models") / "raw")


@pytest.fixture(scope="module")
def graphs(raw: Path) -> Path:
    """The float32 graph of the transformer."""
    target = raw.with_name("converted")
    target.mkdir()
    convert_folder(raw, target, Conversion(("float32",)))
    return target / "onnx"


@pytest.fixture
def save(tmp_path: Path, raw: Path, graphs: Path) -> Save:
    def save(after: Sequence[Any], *changes: Change, **options: Any) -> Path:
        torch.manual_seed(2)
        folder = save_model(tmp_path / "model", raw, after, **options)
        shutil.copytree(graphs, folder / "onnx")
        for change in changes:
            change(folder)
        return folder

    return save


def pool(*modes: str, **options: Any) -> modules.Pooling:
    return modules.Pooling(DIM, pooling_mode=modes, **options)


def sets(name: str, **changes: Any) -> Change:
    return lambda folder: edit(folder / name, **changes)


def renames(old: str, new: str) -> Change:
    return lambda folder: (folder / old).rename(folder / new)


def removes(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def writes(name: str, content: object) -> Change:
    return lambda folder: (folder / name).write_text(json.dumps(content), encoding="utf-8")


def tokenizer_json(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text("utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return apply


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("mode", modules.Pooling.POOLING_MODES)
def test_every_pooling_is_that_of_sentence_transformers(
    save: Save, mode: str, include_prompt: bool
) -> None:
    folder = save([pool(mode, include_prompt=include_prompt)], prompts=PROMPTS)
    assert differences(folder, dims=(None, 8)) < NEAR


@pytest.mark.parametrize("prompt", ["", "hello", "query: Search the " * 8, "ends in [SEP]"])
@pytest.mark.parametrize("mode", ["mean", "lasttoken", "weightedmean", "cls"])
def test_prompts_of_any_length_are_left_out(save: Save, mode: str, prompt: str) -> None:
    prompts = {"query": prompt, "document": prompt.upper()}
    assert differences(save([pool(mode, include_prompt=False)], prompts=prompts)) < NEAR


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_cls_token": False},
        {"pooling_mode_lasttoken": True, "pooling_mode_cls_token": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        {"pooling_mode_mean_sqrt_len_tokens": True, "pooling_mode_weightedmean_tokens": True},
        {"pooling_mode": "max", "pooling_mode_cls_token": True},
        {"pooling_mode": ["lasttoken", "cls"]},
        {"pooling_mode": ["mean"]},
    ],
)
def test_every_spelling_of_a_pooling_is_understood(save: Save, config: dict[str, Any]) -> None:
    config = {"word_embedding_dimension": DIM} | config
    assert differences(save([pool("cls")], writes("1_Pooling/config.json", config))) < NEAR


def dense(out: int = 20, **options: Any) -> modules.Dense:
    return modules.Dense(options.pop("into", DIM), out, **options)


@pytest.mark.parametrize(
    "after",
    [
        [pool("mean"), modules.Normalize()],
        [pool("mean"), dense()],
        [pool("mean"), dense(bias=False), modules.Normalize()],
        [pool("cls"), dense(use_residual=True)],
        [pool("cls"), dense(DIM, use_residual=True), dense(12), modules.Normalize()],
        [pool("mean"), modules.LayerNorm(DIM)],
        [pool("mean"), modules.LayerNorm(DIM), modules.Normalize()],
        [pool("max"), modules.Normalize(), dense(24), modules.LayerNorm(24)],
        [pool("mean"), modules.Dropout(0.5), dense()],
        [pool("mean", "cls"), dense(into=2 * DIM)],
        [pool("cls", "mean", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens")],
        [
            dense(module_input_name="token_embeddings"),
            modules.Normalize(module_input_name="token_embeddings"),
            modules.Pooling(20, pooling_mode="mean"),
        ],
    ],
    ids=lambda after: "+".join(type(module).__name__ for module in after),
)
def test_what_follows_the_pooling_is_that_of_sentence_transformers(
    save: Save, after: list[Any]
) -> None:
    for module in after:
        for parameter in module.parameters():
            nn.init.normal_(parameter, 0.1, 0.5)
    assert differences(save(after), dims=(None, 8)) < NEAR


ACTIVATIONS = [nn.Identity, nn.Tanh, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid]
ACTIVATIONS += [nn.ELU, nn.Softplus, nn.Mish, nn.Hardtanh, nn.Softsign]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_that_of_torch(save: Save, activation: type[nn.Module]) -> None:
    layer = dense(activation_function=activation())
    nn.init.normal_(layer.linear.weight, 0, 3)
    assert differences(save([pool("mean"), layer])) < NEAR


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_are_read(save: Save, kind: torch.dtype) -> None:
    from safetensors.torch import load_file, save_file

    def halve(folder: Path) -> None:
        path = folder / "2_Dense" / "model.safetensors"
        save_file({name: x.to(kind) for name, x in load_file(path).items()}, path)

    assert differences(save([pool("mean"), dense()], halve)) < NEAR


ADDED = {"lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
SETTINGS: dict[str, tuple[Change, ...]] = {
    "lowercased": (sets(TOKENIZER, do_lower_case=True),),
    "lowercased, with accents": (sets(TOKENIZER, do_lower_case=True, strip_accents=False),),
    "without accents": (sets(TOKENIZER, strip_accents=True),),
    "Chinese in words": (sets(TOKENIZER, tokenize_chinese_chars=False),),
    "case as configured": (tokenizer_json(lambda c: c["normalizer"].update(lowercase=True)),),
    "cleaned": (tokenizer_json(lambda c: c["normalizer"].update(clean_text=False)),),
    "words as configured": (
        tokenizer_json(lambda c: c.update(pre_tokenizer={"type": "WhitespaceSplit"})),
    ),
    "long words": (tokenizer_json(lambda c: c["model"].update(max_input_chars_per_word=3)),),
    "special tokens of the class": (tokenizer_json(lambda c: c.update(post_processor=None)),),
    "lowercased by the module": (sets(SENTENCE, do_lower_case=True),),
    "class of DistilBERT": (sets(TOKENIZER, tokenizer_class="DistilBertTokenizerFast"),),
    "generic class": (
        sets(TOKENIZER, tokenizer_class="PreTrainedTokenizerFast", do_lower_case=True),
    ),
    "no class": (sets(TOKENIZER, tokenizer_class=None, do_lower_case=None),),
    "class in config.json": (
        sets(TOKENIZER, tokenizer_class=None),
        sets("config.json", tokenizer_class="BertTokenizer"),
    ),
    "no tokenizer config": (removes(TOKENIZER),),
    "added token": (
        sets(TOKENIZER, added_tokens_decoder={"5": ADDED | {"content": "hello", "special": True}}),
    ),
    "added token, generic": (
        sets(
            TOKENIZER,
            tokenizer_class="TokenizersBackend",
            added_tokens_decoder={"5": ADDED | {"content": "hello", "special": True}},
        ),
    ),
    "extra special tokens": (sets(TOKENIZER, extra_special_tokens=["world", "the"]),),
    "additional special tokens": (sets(TOKENIZER, additional_special_tokens=["world"]),),
    "special tokens split": (sets(TOKENIZER, split_special_tokens=True),),
    "another first token": (sets(TOKENIZER, cls_token="[MASK]"),),
    "cut on the left": (sets(TOKENIZER, truncation_side="left"),),
    "cut on the left in tokenizer.json": (
        tokenizer_json(
            lambda c: c.update(
                truncation={
                    "direction": "Left",
                    "max_length": 9,
                    "strategy": "LongestFirst",
                    "stride": 0,
                }
            )
        ),
    ),
    "length of the positions": (sets(TOKENIZER, model_max_length=None),),
    "length of the module": (sets(SENTENCE, max_seq_length=12),),
    "no length of the module": (writes(SENTENCE, {"max_seq_length": None}),),
    "arguments of the processor": (
        sets(SENTENCE, processor_kwargs={"model_max_length": 9, "truncation_side": "left"}),
    ),
    "arguments of the tokenizer": (sets(SENTENCE, tokenizer_args={"do_lower_case": True}),),
    "arguments of the model": (sets(SENTENCE, model_args={"attn_implementation": "eager"}),),
    "chat template": (sets(TOKENIZER, chat_template="{{ messages[0]['content'] }}"),),
}
for _name in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"):
    SETTINGS[f"settings of {_name}"] = (
        renames(SENTENCE, f"sentence_{_name}_config.json"),
        sets(f"sentence_{_name}_config.json", max_seq_length=9),
    )


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)
def test_texts_are_tokenized_as_the_folder_says(save: Save, changes: tuple[Change, ...]) -> None:
    assert differences(save([pool("mean")], *changes)) < NEAR


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken"])
def test_padding_on_the_left_is_that_of_a_single_text(save: Save, mode: str) -> None:
    folder = save([pool(mode)], sets(TOKENIZER, padding_side="left"))
    assert differences(folder, batches=False) < NEAR


@pytest.mark.parametrize("side", [None, "left", "right"])
@pytest.mark.parametrize(
    "after",
    [[], [modules.Normalize()], [dense(), modules.Normalize()], [modules.LayerNorm(DIM)]],
    ids=lambda after: "+".join(type(module).__name__ for module in after),
)
def test_static_tables_are_those_of_sentence_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: list[Any], side: str | None
) -> None:
    monkeypatch.setenv("NESTLING_CACHE", str(tmp_path / "cache"))
    made = tokenizer(lowercase=True)
    if side is not None:
        made.enable_truncation(6, direction=side)
    table = modules.StaticEmbedding(made, embedding_dim=DIM)
    network = SentenceTransformer(modules=[table, *after], prompts=PROMPTS)
    folder = tmp_path / "table"
    network.save_pretrained(str(folder), create_model_card=False)
    edit(folder / "config.json", model_type="model2vec", normalize=True)  # as in its folders
    assert differences(folder, dims=(None, 8)) < NEAR


def test_a_default_length_of_prefixes_is_kept(save: Save) -> None:
    folder = save([pool("mean"), modules.Normalize()], sets(OWN, truncate_dim=12))
    assert differences(folder, dims=(None, 5)) < NEAR
    assert Encoder(folder).dim == 12


def test_the_transformer_may_have_a_folder(save: Save) -> None:
    def move(folder: Path) -> None:
        place = folder / "0_Transformer"
        place.mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json", TOKENIZER, SENTENCE):
            (folder / name).rename(place / name)
        (folder / "onnx").rename(place / "onnx")
        listing = json.loads((folder / "modules.json").read_text())
        listing[0]["path"] = "0_Transformer"
        (folder / "modules.json").write_text(json.dumps(listing))

    assert differences(save([pool("cls")], move, sets(SENTENCE, max_seq_length=9))) < NEAR


@pytest.mark.parametrize("architectures", [["BertModel"], ["LlamaForCausalLM"], None])
def test_a_model_without_modules_is_pooled_as_there(
    save: Save, architectures: list[str] | None
) -> None:
    folder = save(
        [pool("cls")],
        removes("modules.json", "1_Pooling/config.json"),
        lambda folder: (folder / "1_Pooling").rmdir(),
        sets("config.json", architectures=architectures),
    )
    assert differences(folder) < NEAR


@pytest.mark.parametrize(
    ("prompts", "default"),
    [
        ({"query": "query: "}, None),
        ({"query": "query: ", "document": "the "}, "query"),
        ({"query": "", "document": "", "s2p_query": "search "}, None),
        ({"document": "the "}, "document"),
        ({"query": None, "document": "the "}, None),
    ],
)
def test_prompts_are_those_of_encode_query_and_encode_document(
    save: Save, prompts: dict[str, str], default: str | None
) -> None:
    config = {"prompts": prompts, "default_prompt_name": default}
    assert differences(save([pool("mean")], writes(OWN, config))) < NEAR


REFUSED: dict[str, tuple[str, tuple[Change, ...]]] = {
    "query_length": ("sets query_length to 5", (sets(SENTENCE, query_length=5),)),
    "document_length": ("sets document_length to 5", (sets(SENTENCE, document_length=5),)),
    "expansion": (
        "sets query_expansion to",
        (sets(SENTENCE, query_expansion={"strategy": "fixed", "length": 32}),),
    ),
    "another tokenizer": (
        "sets tokenizer_name_or_path to 'else'",
        (sets(SENTENCE, tokenizer_name_or_path="else"),),
    ),
    "task": ("the task 'fill-mask'", (sets(SENTENCE, transformer_task="fill-mask"),)),
    "conversation": (
        "sets modality_config to",
        (
            sets(
                SENTENCE,
                modality_config={
                    "text": {"method": "forward", "method_output_name": "last_hidden_state"},
                    "message": {"method": "forward", "method_output_name": "last_hidden_state"},
                },
            ),
        ),
    ),
    "another method": (
        "sets modality_config to",
        (
            sets(
                SENTENCE,
                modality_config={"text": {"method": "get_text_features"}},
            ),
        ),
    ),
    "output": ("outputs 'scores'", (sets(SENTENCE, module_output_name="scores"),)),
    "processing": (
        "processing_kwargs for text to .'max_length': 5",
        (sets(SENTENCE, processing_kwargs={"text": {"max_length": 5}}),),
    ),
    "model arguments": (
        "sets rope_scaling in config_args",
        (sets(SENTENCE, config_args={"rope_scaling": 2}),),
    ),
    "no modules": (
        "1_Pooling specifies the pooling cls, but .* has no modules.json",
        (removes("modules.json"),),
    ),
    "Python": (
        "names the tokenizer BertJapaneseTokenizer",
        (sets(TOKENIZER, tokenizer_class="BertJapaneseTokenizer"),),
    ),
    "chat": (
        "has a chat template and no modules.json",
        (
            removes("modules.json", "1_Pooling/config.json"),
            lambda folder: (folder / "1_Pooling").rmdir(),
            sets(TOKENIZER, chat_template="{{ messages[0]['content'] }}"),
        ),
    ),
    "another kind": (
        "holds a SparseEncoder",
        (sets(OWN, model_type="SparseEncoder"),),
    ),
}


@pytest.mark.parametrize(("message", "changes"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(
    save: Save, message: str, changes: tuple[Change, ...]
) -> None:
    folder = save([pool("cls")], *changes)
    with pytest.raises(ModelError, match=message):
        Encoder(folder, precision="float32")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (modules.WordWeights(vocab=["a"], word_weights={"a": 1.0}), "WordWeights .* not supported"),
        (dense(activation_function=nn.PReLU()), "has the activation function .*PReLU"),
        (dense(module_output_name="other"), "maps sentence_embedding to other"),
    ],
    ids=["module", "activation", "output"],
)
def test_a_module_that_cannot_be_run_is_refused_by_name(
    save: Save, module: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Encoder(save([pool("mean"), module]), precision="float32")


def test_weights_in_a_pickle_are_not_opened(save: Save) -> None:
    def pickle(folder: Path) -> None:
        place = folder / "2_Dense"
        (place / "model.safetensors").rename(place / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"2_Dense/pytorch_model\.bin, a pickle"):
        Encoder(save([pool("mean"), dense()], pickle), precision="float32")
