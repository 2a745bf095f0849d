"""Logs a summarizer of T5's architecture in MLflow, finds it by its run, registers it and makes it the champion.

MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python log_summarizer.py
"""

from pathlib import Path

import mlflow
from mlflow.models import infer_signature
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, TextGenerationPipeline

import sqlinfer

WEIGHTS = Path(sqlinfer.__file__).parent / "weights" / "tiny-summarizer"
NAME, EXPERIMENT = "summarizer", "summaries"


def log_model() -> None:
    """Train here; then log the model with its signature and how it generates."""
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(WEIGHTS), AutoTokenizer.from_pretrained(WEIGHTS)
    # transformers 5 has no pipeline of its own for the task; MLflow saves the parts of any.
    pipeline = TextGenerationPipeline(model, tokenizer, task="summarization")
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run():
        mlflow.log_param("base_model", "t5-small")
        mlflow.log_metric("rougeL", 0.41)
        mlflow.transformers.log_model(
            pipeline,
            name="model",
            task="summarization",
            signature=infer_signature("a long text", "a summary", params={"num_beams": 2}),
            model_config={"max_new_tokens": 24, "no_repeat_ngram_size": 2},
            pip_requirements=["transformers", "torch"],
        )


def register_best() -> str:
    """Register the model of the run with the best score, tag it, and let the alias champion mean it."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (best,) = client.search_runs(
        [experiment.experiment_id],
        "params.base_model = 't5-small' AND metrics.rougeL > 0.3",
        order_by=["metrics.rougeL DESC"],
        max_results=1,
    )
    version = mlflow.register_model(f"runs:/{best.info.run_id}/model", NAME).version
    client.update_registered_model(NAME, "One sentence for each review")
    client.set_registered_model_tag(NAME, "team", "news")
    client.set_model_version_tag(NAME, version, "rougeL", str(best.data.metrics["rougeL"]))
    client.set_registered_model_alias(NAME, "champion", version)
    return best.info.run_id


if __name__ == "__main__":
    log_model()
    print("registered", NAME, "from run", register_best())
