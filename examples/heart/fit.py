"""Fits what the walk-through registers: a transformation of patients' columns, and a classifier of what it gives.

python fit.py heart-labeled.csv
"""

import sys

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["age", "trestbps", "chol", "thalach", "oldpeak"]


def fit(file):
    patients = pd.read_csv(file)
    target = patients.pop("target")
    categories = [name for name in patients if name not in NUMBERS]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = make_column_transformer(
        (StandardScaler(), NUMBERS), (encoder, categories), verbose_feature_names_out=False
    )
    prepare.set_output(transform="pandas")
    joblib.dump(LogisticRegression(max_iter=1000).fit(prepare.fit_transform(patients), target), "score.joblib")
    joblib.dump(prepare, "prepare.joblib")


if __name__ == "__main__":
    fit(sys.argv[1])
