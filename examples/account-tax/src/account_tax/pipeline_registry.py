"""The one pipeline of the project."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from account_tax import nodes

SETTINGS = ["params:profile", "params:training"]


def register_pipelines() -> dict[str, Pipeline]:
    """``kedro run`` runs ``__default__``."""
    data = {"tags": "data"}
    pipeline = Pipeline(
        [
            node(nodes.load_rows, SETTINGS, "raw_rows", name="load_rows", **data),
            node(nodes.clean_rows, ["raw_rows", *SETTINGS], "clean_rows", name="clean_rows", **data),
            node(nodes.split_rows, ["clean_rows", *SETTINGS], "split_rows", name="split_rows", **data),
            node(
                nodes.tokenize_rows,
                ["raw_rows", "split_rows", *SETTINGS],
                "tokenized_rows",
                name="tokenize_rows",
                **data,
            ),
            node(
                nodes.train_model, ["tokenized_rows", *SETTINGS, "params:resume"], "trained_recipe", name="train_model"
            ),
            node(nodes.evaluate_model, "trained_recipe", "metrics", name="evaluate_model"),
        ]
    )
    return {"__default__": pipeline}
