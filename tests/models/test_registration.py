import pytest
import timm
import torch
from safetensors.torch import save_file

from models.core.errors import UnsupportedError
from models.core.input_spec import InputSpec
from models.core.store import CheckpointStore
from models.pipeline import load_pipeline
from models.registration import UNUSABLE, from_file, from_folder, register

CPU = torch.device("cpu")
SPEC = InputSpec(32, 32, 36, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLASSES = tuple(f"class {number}" for number in range(5))


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return timm.create_model("test_efficientnet", num_classes=5).eval()


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "store")


def test_a_file_of_weights_becomes_a_version_that_answers_as_the_network_does(network, store, tmp_path):
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    imported = from_file("timm", tmp_path / "weights.safetensors", "test_efficientnet", {"num_classes": 5}, SPEC)
    number = register(store, "own", "timm", imported, CLASSES)

    manifest = store.read_manifest("own", number)
    assert (manifest.classes, manifest.calibrator, manifest.scores) == (CLASSES, None, ())
    pipeline = load_pipeline(store, store.read("own", number), CPU, precision="float32")
    pixels = torch.randint(256, (3, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    with torch.no_grad():
        logits = network(SPEC.tensor(pixels, CPU, torch.float32))
    answers = pipeline.answer(pixels)
    assert answers.class_index.tolist() == logits.argmax(dim=1).tolist()
    torch.testing.assert_close(torch.from_numpy(answers.confidence), logits.softmax(dim=1).amax(dim=1))


def test_a_folder_in_the_hubs_layout_names_its_own_preprocessing(network, store, tmp_path):
    timm.models.save_for_hf(network, tmp_path / "folder", model_config={"label_names": list(CLASSES)})
    number = register(store, "own", "timm", from_folder("timm", tmp_path / "folder"))
    assert store.read_manifest("own", number).classes == CLASSES


def test_equal_networks_are_one_version(network, store, tmp_path):
    timm.models.save_for_hf(network, tmp_path / "folder")
    numbers = {register(store, "own", "timm", from_folder("timm", tmp_path / "folder"), CLASSES) for _ in range(2)}
    assert numbers == {1}


@pytest.mark.parametrize("classes", [None, CLASSES[:4], (*CLASSES[:4], CLASSES[0])])
def test_every_class_has_one_name(network, store, tmp_path, classes):
    timm.models.save_for_hf(network, tmp_path / "folder")
    with pytest.raises(UnsupportedError, match="has 5 outputs"):
        register(store, "own", "timm", from_folder("timm", tmp_path / "folder"), classes)


@pytest.mark.parametrize("kind", ["timm", "torchvision", "transformers"])
def test_what_is_no_network_is_refused(tmp_path, kind):
    (tmp_path / "folder").mkdir()
    (tmp_path / "weights.safetensors").write_bytes(b"no tensors")
    for path in (tmp_path / "folder", tmp_path / "weights.safetensors", tmp_path / "absent"):
        with pytest.raises(UNUSABLE):
            from_folder(kind, path)
    with pytest.raises(UNUSABLE):
        from_file("timm", tmp_path / "weights.safetensors", "test_efficientnet", {}, SPEC)


def test_a_folder_of_another_library_is_told_so(tmp_path):
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    network = MobileNetV2ForImageClassification(MobileNetV2Config(depth_multiplier=0.35, num_labels=2))
    network.save_pretrained(tmp_path / "folder")
    with pytest.raises(UnsupportedError, match="'architecture': is it of another kind than timm"):
        from_folder("timm", tmp_path / "folder")
