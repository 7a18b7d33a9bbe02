"""A small model of late arrivals: logistic regression on what is known before departure.

scikit-learn is imported where it is used: a run that reuses the model does not wait for it.
"""

from typing import Any

import pandas as pd

NUMBERS = ["hour", "distance", "temp", "humid", "wind_speed", "precip", "visib"]
WORDS = ["carrier", "origin"]
LATE = 15  # minutes after which an arrival counts as late, as the US statistics have it


def arrivals(day: pd.DataFrame) -> pd.DataFrame:
    """Return what there is to learn from: the flights that arrived, and whether they were late."""
    arrived = day[day["arr_delay"].notna()]
    return arrived[NUMBERS + WORDS].assign(late=arrived["arr_delay"] > LATE).reset_index(drop=True)


def learn(rows: pd.DataFrame) -> tuple[Any, dict[str, float]]:
    """Return a model fitted to three quarters of ``rows``, and how well it does on the rest."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    known, unseen = train_test_split(rows, test_size=0.25, random_state=0, stratify=rows["late"])
    features = make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(handle_unknown="ignore"), WORDS)
    )
    model = make_pipeline(features, LogisticRegression(max_iter=1000, random_state=0))
    model.fit(known[NUMBERS + WORDS], known["late"])
    scores = model.predict_proba(unseen[NUMBERS + WORDS])[:, 1]
    return model, {
        "rows": len(rows),
        "late": round(float(rows["late"].mean()), 3),
        "auc": round(float(roc_auc_score(unseen["late"], scores)), 3),
    }
