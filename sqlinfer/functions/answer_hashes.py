"""Under which hash the answers of built-in functions are kept: an edit of their files, all of which is in the requests
that they make, asks nothing anew. A function that is not listed keeps its answers under the hash of its file."""

from __future__ import annotations

from collections.abc import Mapping

ANSWER_HASHES: Mapping[str, str] = {
    "ai_agg": "d0220f90a23eec221033bba07a17e11a118ca189ee2af6a86eed423373b777cb",
    "ai_classify": "c9959f765e2ccf3323a79f1a3f9b3339031c5bc56a5c8b871f74add38b0a4f11",
    "ai_complete": "eb4ec57470b0cf238ae39f167bfbc414e4a88cf1c027229145e485130913d814",
    "ai_count_tokens": "0404687445e8525e9bbe5664f0b66399c26edcdf0328192f2efdafff1152d203",
    "ai_embed": "b0c3a5a6cf146711d3394e8845354b0dbefe8bc7120c9e226ac1214e359d3783",
    "ai_extract": "a52733ec1c7edab4f65887a16d2939650b022db28070e836b5df599eb5792c32",
    "ai_filter": "67a0c7055d0c422ff44fa27c3ae9ef445e822e3b0c736f46496bbb1a74e8cad7",
    "ai_fix_grammar": "080616b3bf3f6850d00d28fc6c98b8cdb3ff6a30b9d5a5302518482d918372d4",
    "ai_gen": "af963623dbd233f5c67c21866eafa6354b793d6bc7e6b6848486c61b7e1b14f9",
    "ai_mask": "d8c2bad1fc8cc9f39deca460cdbd013d7c42d0d29dccc920e81cbca7e8c7d18b",
    "ai_predict": "a253136aa56d9d16c0db4c66bc44201fd77e6edc7a122ebab91fceae0b63fbac",
    "ai_query": "51b9dab5ede96785a252869364dc81d1a9b57a3466c560617979cbafdb93d933",
    "ai_score": "ef0c292221c3babc2aaecb5d8d8501b3f56c67bc3544693de323e38bfbda9732",
    "ai_sentiment": "9ab6c6ba3dd2e584474dd542c34045e138915d19211e8a71dc5a8a3ccbc239cd",
    "ai_similarity": "d466027e89b142f80d4bbac84e6f350b94298d7f1d0cb39046f7982a21d49499",
    "ai_summarize_agg": "4f06ab09832725a6ab86e954ae0fdbc3190c951181240e9ff65d4b4b7122260c",
    "ai_translate": "5423af6d9bea0369e24c10e7d5242ce99938b0cc9ae15008663e2dfe4ae1fa8f",
    "summarize": "2aa0ce7f17044e760b235b00a3dab4a768a77013329625de11ad0a7a9857243c",
}
