"""Plain FastAPI around the float32 network, as an engineer would write it: no batching, work in FastAPI's threads."""

import argparse
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI

from tests.benchmarks.plain import PlainModel

Picture = Annotated[bytes, Body(media_type="image/jpeg")]


def create_app(model: PlainModel) -> FastAPI:
    app = FastAPI()

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/predict")
    def predict(picture: Picture) -> dict[str, Any]:
        return model.predict([model.decode(picture)])[0]

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(create_app(PlainModel()), port=parser.parse_args().port, log_level="warning")


if __name__ == "__main__":
    main()
