"""Embedded prompts in, the most likely tokens and their probabilities out: Qwen3, many at once.

Every row of a batch has its own row of a cache that is made once, and its own length. Prompts are
read in one pass, padded on the right, where nothing that counts can see the padding; then each row
takes a token a step at its own place. A row that ends makes room: the last one moves to its place,
so that a step works for as few rows as are left, and one that waits begins behind them. On a GPU a
step is a recorded graph, one for each number of rows and places, rounded up; on a CPU the same code
runs as it is. What a row says does not depend on its neighbours.

The weights are those of transformers' model, where they lie; the computation is Qwen3's, with norms
and attention as torch fuses them. What a checkpoint could want otherwise (sliding windows, scaled
positions, biases) is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
import transformers

from server.engines.step_graphs import StepGraphs
from server.recognition import EngineSettingError, ModelError

_PLACES_STEP = 128
"""Of the places that a step looks at: few sizes make few graphs."""
_PREFILL_POSITIONS = 8192
"""Of prompts that are read in one pass, padding included."""
_Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(slots=True)
class Decoded:
    """What one row says."""

    tokens: list[int] = field(default_factory=list, repr=False)
    """Without the one that ended it."""
    log_probabilities: list[float] = field(default_factory=list)
    """Natural logarithm, of each token."""
    has_ended: bool = False
    """By itself, within its budget."""


@dataclass(slots=True)
class _Row:
    """An answer that goes on."""

    said: Decoded
    n_places: int
    """Filled in its row of the cache."""
    budget: int
    is_over: bool = False

    def take(self, token: int, log_probability: float, ends: frozenset[int]) -> None:
        """Its next token."""
        if token in ends:
            self.said.has_ended = self.is_over = True
            return
        self.said.tokens.append(token)
        self.said.log_probabilities.append(log_probability)
        self.is_over = len(self.said.tokens) >= self.budget


class Decoder:
    """Of one model; for one thread at a time."""

    def __init__(
        self,
        model: transformers.Qwen3ASRForConditionalGeneration,
        ends: frozenset[int],
        *,
        most_rows: int,
        most_places: int,
    ) -> None:
        """`ends`: tokens that end an answer. A place of a row takes 112 KiB for 1.7 billion
        parameters. Raises ModelError and EngineSettingError.
        """
        text = model.model.language_model
        _refuse_otherwise(text.config)
        self._text, self._head, self._ends = text, model.lm_head, ends
        self._most_rows, self._most_places = most_rows, most_places
        self._n_kv_heads: int = text.config.num_key_value_heads
        self._head_dim: int = text.config.head_dim
        weight = text.embed_tokens.weight
        shape = (len(text.layers), 2, most_rows, most_places, self._n_kv_heads, self._head_dim)
        try:
            self._cache = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        except RuntimeError:  # of which running out of a GPU's memory is one
            text = "transformers.most_rows, most_places: there is no room for a cache of so many"
            raise EngineSettingError(text) from None
        self._given = torch.zeros((2, most_rows), dtype=torch.long, device=weight.device)
        """For the next step: each row's token, and its place."""
        places = torch.arange(most_places, device=weight.device)
        self._turns = torch.stack(text.rotary_emb(weight, places[None])).squeeze(1)
        """(2, most_places, head_dim): cosines and sines."""
        self._steps = StepGraphs(self._compute_step, weight.device, most_rows)
        with torch.inference_mode():
            for n_places in range(_PLACES_STEP, most_places + 1, _PLACES_STEP):
                self._steps.prepare(n_places)

    def embed(self, tokens: Sequence[int]) -> torch.Tensor:
        """(len(tokens), hidden)"""
        with torch.inference_mode():
            places = torch.tensor(tokens, dtype=torch.long, device=self._given.device)
            embedded: torch.Tensor = self._text.embed_tokens(places)
        return embedded

    def decode(self, prompts: Sequence[torch.Tensor], budgets: Sequence[int]) -> list[Decoded]:
        """(n_positions, hidden) in, an answer out, for each; no answer has more tokens than its
        budget, or than there are places left.
        """
        with torch.inference_mode():
            return self._decode_all(prompts, budgets)

    # --- rows ---

    def _decode_all(self, prompts: Sequence[torch.Tensor], budgets: Sequence[int]) -> list[Decoded]:
        answers = [Decoded() for _ in prompts]
        waiting = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        rows: list[_Row] = []
        while waiting or rows:
            while new := waiting[: self._n_to_begin(prompts, waiting, len(rows))]:
                waiting = waiting[len(new) :]
                outcome = self._begin([prompts[index] for index in new], len(rows))
                for index in new:
                    n_places = len(prompts[index])
                    budget = min(budgets[index], self._most_places - n_places)
                    rows.append(_Row(answers[index], n_places, budget))
                self._take(rows, len(rows) - len(new), outcome)
            if rows:
                self._take(rows, 0, self._step(rows))
        return answers

    def _n_to_begin(
        self, prompts: Sequence[torch.Tensor], waiting: Sequence[int], n_rows: int
    ) -> int:
        """Of those that wait, shortest first, as many as there is room and sense for."""
        n_new = 0
        for index in waiting[: self._most_rows - n_rows]:
            if n_new and (n_new + 1) * len(prompts[index]) > _PREFILL_POSITIONS:
                break
            n_new += 1
        return n_new

    def _take(self, rows: list[_Row], first: int, outcome: torch.Tensor) -> None:
        """What the rows from `first` on said: (2, n_rows), tokens and their log-probabilities."""
        tokens, log_probabilities = outcome.tolist()
        for row, token, log_probability in zip(
            rows[first:], tokens, log_probabilities, strict=True
        ):
            row.take(int(token), log_probability, self._ends)
        index = first
        while index < len(rows):
            if rows[index].is_over:
                self._drop(rows, index)
            else:
                index += 1

    def _drop(self, rows: list[_Row], index: int) -> None:
        """The last row moves to its place."""
        last = rows.pop()
        if index < len(rows):
            self._cache[:, :, index, : last.n_places] = self._cache[
                :, :, len(rows), : last.n_places
            ]
            rows[index] = last

    # --- the model ---

    def _begin(self, prompts: Sequence[torch.Tensor], first: int) -> torch.Tensor:
        """Read prompts into the rows of the cache from `first` on; gives what comes next."""
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self._given.device)
        hidden = torch.nn.utils.rnn.pad_sequence(list(prompts), batch_first=True)
        n_rows, n_places = hidden.shape[:2]
        turns = self._turns[:, None, :n_places, None]

        def attend(
            layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
        ) -> torch.Tensor:
            for side, new in enumerate((key, value)):
                self._cache[layer, side, first : first + n_rows, :n_places] = new
            asked, keys, values = (part.transpose(1, 2) for part in (query, key, value))
            heard = F.scaled_dot_product_attention(
                asked, keys, values, is_causal=True, enable_gqa=True
            )
            return heard.transpose(1, 2)

        hidden = self._through_layers(hidden, turns, attend)
        rows = torch.arange(n_rows, device=hidden.device)
        return self._likeliest(hidden[rows, lengths - 1])

    def _step(self, rows: Sequence[_Row]) -> torch.Tensor:
        given = [[row.said.tokens[-1] for row in rows], [row.n_places for row in rows]]
        self._given[:, : len(rows)] = torch.tensor(given)
        longest = 0
        for row in rows:
            row.n_places += 1
            longest = max(longest, row.n_places)
        n_places = min(-(-longest // _PLACES_STEP) * _PLACES_STEP, self._most_places)
        return self._steps.run(len(rows), n_places)

    def _compute_step(self, n_rows: int, n_places: int) -> torch.Tensor:
        """One token for the first `n_rows`, which see the first `n_places` up to their own."""
        tokens, places = self._given[:, :n_rows]
        rows = torch.arange(n_rows, device=tokens.device)
        is_seen = torch.arange(n_places, device=tokens.device) <= places[:, None]
        turns = self._turns[:, places, None, None]

        def attend(
            layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
        ) -> torch.Tensor:
            cache = self._cache[layer]
            for side, new in enumerate((key, value)):
                cache[side, rows, places] = new[:, 0]
            keys, values = cache[:, :n_rows, :n_places].transpose(2, 3)
            # the heads that share a key are asked as so many queries: no key is copied for them
            asked = query[:, 0].unflatten(1, (self._n_kv_heads, -1))
            heard = F.scaled_dot_product_attention(
                asked, keys, values, attn_mask=is_seen[:, None, None]
            )
            return heard.flatten(1, 2)[:, None]

        hidden = self._text.embed_tokens(tokens)[:, None]
        return self._likeliest(self._through_layers(hidden, turns, attend)[:, 0])

    def _through_layers(
        self, hidden: torch.Tensor, turns: torch.Tensor, attend: _Attend
    ) -> torch.Tensor:
        """`hidden` (n_rows, n_positions, width), as are query, key and value but by heads."""
        for index, layer in enumerate(self._text.layers):
            attention, fed = layer.self_attn, layer.mlp
            normed = _normed(layer.input_layernorm, hidden)
            query, key, value = (
                projection(normed).unflatten(2, (-1, self._head_dim))
                for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            query = _turned(_normed(attention.q_norm, query), turns)
            key = _turned(_normed(attention.k_norm, key), turns)
            heard = attend(index, query, key, value)
            hidden = hidden + attention.o_proj(heard.flatten(2))
            normed = _normed(layer.post_attention_layernorm, hidden)
            gate = F.silu(fed.gate_proj(normed))
            hidden = hidden + fed.down_proj(gate * fed.up_proj(normed))
        return hidden

    def _likeliest(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n_rows, width) in; (2, n_rows) float32, tokens and log-probabilities, out."""
        logits = self._head(_normed(self._text.norm, hidden)).float()
        highest, tokens = logits.max(dim=-1)
        return torch.stack((tokens.float(), highest - logits.logsumexp(dim=-1)))


def _normed(norm: Any, hidden: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - transformers'
    return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _turned(heads: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rotary positions, halves as Llama has them."""
    cosine, sine = turns
    left, right = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat((-right, left), dim=-1) * sine


def _refuse_otherwise(config: Any) -> None:  # noqa: ANN401 - transformers'
    """Raises ModelError for a language model that is not computed as above."""
    is_plain = (
        config.model_type == "qwen3"
        and config.hidden_act == "silu"
        and not config.attention_bias
        and config.rope_parameters["rope_type"] == "default"
        and set(config.layer_types) == {"full_attention"}
    )
    if not is_plain:
        raise ModelError("the language model of the pack is not that of Qwen3-ASR")
