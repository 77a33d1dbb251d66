"""Writes bpe/: two tiny byte-level tokenizers in the layouts of OLMo and OLMo 2, and the ids of texts.

Needs tokenizers (0.23.2 was used). Run from the repository's root: python3 test/golden/bpe.py

Each folder has a tokenizer.json, trained on the text below. `olmo` has the parts of GPT-NeoX's tokenizer, which OLMo
uses: NFC, the words of GPT-2, and added tokens for runs of spaces. `olmo2` has those of OLMo 2's: the words of
cl100k_base. `expected.json` has the ids of each text, without special tokens, and with their names as ordinary text.
"""

import json
import pathlib
import shutil

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = """The learning rate of every step is computed before the step begins. It's a function of the step, and isn't
changed by what the step finds; we'll see that it doesn't need to be. THE END isn't near, they've said, and I'd agree.
In 1790 there were 3,929,214 people, in 2020 there were 331,449,281. for (let i = 0; i < 10; i++) { sum += values[i]; }
Der Zug hält nicht in Köln; die Straße führt weiter nach Düsseldorf. L'été est déjà passé, où êtes-vous allés ?
Съешь же ещё этих мягких французских булок. 学習率は各ステップの前に計算されます。学習率。 안녕하세요 세계 🙂🙂 👩‍🚀
def function(value):
    return value * 2
\treturn\tvalue
"""

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

TEXTS = [
    "",
    "The step isn't near, and we'll see it.",
    "THE STEP ISN'T NEAR, AND WE'LL SEE IT; it'S",
    " leading and trailing  ",
    "   three,  two and      six spaces",
    "lines\n\nand\r\ncarriage returns\n \n  indented\n\ttabs\t\t",
    "1234567 and 3.14159 and 0x1F and ٣٤ and Ⅷ",
    "for (let i = 0; i < 10; i++) { sum += values[i]; }",
    "Köln, Straße, déjà vu, e\u0301te\u0301, naïve, ﬁ",
    "Съешь же ещё этих мягких булок",
    "学習率は各ステップの前に計算されます。안녕하세요",
    "🙂 👩‍🚀 🏳️‍🌈 \U0001f600\U0001f600",
    "control \u0000\u0001\u001b[31m\u007f\u0085 and\u00a0no-break\u2003space\u200b\ufeff",
    "<|endoftext|> is not the end, nor is <|padding|> <|endoftext|>",
    "it\u2019s 'Twas o'clock 'ſ 'S 'ſ",
    "a" * 100 + "!" * 40 + "\n" * 5,
    "\ufffd\U0010ffff\ue000",
]


def olmo():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def olmo2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train(tokenizer):
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([CORPUS], trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])


here = pathlib.Path(__file__).with_suffix("")
shutil.rmtree(here, ignore_errors=True)
expected = {"texts": TEXTS, "ids": {}}
for name, tokenizer in {"olmo": olmo(), "olmo2": olmo2()}.items():
    train(tokenizer)
    if name == "olmo":
        tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(6, 1, -1)])
    tokenizer.encode_special_tokens = True
    folder = here / name
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|endoftext|>", "pad_token": "<|padding|>", "tokenizer_class": "GPTNeoXTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    expected["ids"][name] = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
(here / "expected.json").write_text(json.dumps(expected, ensure_ascii=True, separators=(",", ":")) + "\n")
