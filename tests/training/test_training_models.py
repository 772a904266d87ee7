import pytest
import torch
import torch.nn.functional as F
import torchvision

from pupil_training.errors import RecipeError
from pupil_training.models import Classifier, InputSize, build_net
from pupil_training.models.cost import multiply_adds, parameters
from pupil_training.models.lenet import C3_SEES, CodeDistance, PartialConv2d
from pupil_training.models.vgg import default_widths
from pupil_training.pixels import to_pixels
from pupil_training.settings import ModelSettings

DIGIT = InputSize(28, 28, 1)
PHOTO = InputSize(64, 64, 3)


def net(name: str, size: InputSize, classes: int = 10, **settings: object) -> torch.nn.Module:
    return build_net(ModelSettings.model_validate({"name": name, **settings}), size, classes).eval()


@pytest.mark.parametrize("side", [28, 32])
def test_lenet5_has_61706_parameters_and_in_its_published_form_60000(side: int) -> None:
    size = InputSize(side, side, 1)
    assert parameters(net("lenet5", size)) == 61_706
    assert parameters(net("lenet5-1998", size)) == 60_000


def test_lenet5_takes_the_multiply_adds_that_its_layers_add_up_to() -> None:
    model = Classifier(net("lenet5", DIGIT), tuple("0123456789"), DIGIT)
    first, second = 28 * 28 * 6 * 25, 10 * 10 * 16 * 6 * 25
    assert multiply_adds(model) == first + second + 400 * 120 + 120 * 84 + 84 * 10


def test_the_third_layer_of_1998_is_a_convolution_with_most_weights_left_out() -> None:
    layer = PartialConv2d(C3_SEES, 5)
    weight = torch.zeros(16, 6, 5, 5)
    values = iter(layer.weight.detach().reshape(-1, 5, 5))
    for output, maps in enumerate(C3_SEES):
        for seen in sorted(maps):
            weight[output, seen] = next(values)
    x = torch.randn(2, 6, 14, 14)
    assert torch.allclose(layer(x), F.conv2d(x, weight, layer.bias), atol=1e-6)
    assert layer.weight.numel() + layer.bias.numel() == 1516  # the paper's count


def test_the_output_of_1998_is_minus_the_squared_distance_to_a_code() -> None:
    layer = CodeDistance(84, 10)
    x = torch.randn(3, 84)
    assert torch.allclose(layer(x), -(torch.cdist(x, layer.codes) ** 2), rtol=1e-4)


@pytest.mark.parametrize("name", ["lenet5", "lenet5-1998"])
def test_lenet5_refuses_pictures_of_another_size(name: str) -> None:
    with pytest.raises(RecipeError, match="28×28 or 32×32 pixels, not 64×64"):
        net(name, PHOTO)


@pytest.mark.parametrize(
    ("side", "widths"),
    [(28, (32, 64, 128)), (32, (32, 64, 128)), (64, (64, 128, 256, 512)), (224, (64, 128, 256, 512, 512))],
)
def test_vgg_grows_with_its_pictures(side: int, widths: tuple[int, ...]) -> None:
    assert default_widths(side) == widths
    model = net("vgg", InputSize(side, side + 3, 3), classes=7)
    assert model(torch.zeros(2, 3, side, side + 3)).shape == (2, 7)


def test_vgg_refuses_more_blocks_than_the_picture_has_halves() -> None:
    with pytest.raises(RecipeError, match="halve 28×28 pixels to nothing"):
        net("vgg", DIGIT, widths=[4] * 5)


def test_the_zoo_gives_torchvisions_own_net() -> None:
    assert parameters(net("torchvision/resnet18", PHOTO)) == parameters(torchvision.models.resnet18(num_classes=10))
    assert net("torchvision/mobilenet_v3_small", PHOTO, classes=4)(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


def test_the_zoo_asks_for_colour() -> None:
    with pytest.raises(RecipeError, match=r"data\.channels = 3"):
        net("torchvision/resnet18", DIGIT)


def test_an_unknown_name_is_answered_with_the_names_that_exist() -> None:
    with pytest.raises(RecipeError, match=r"no model is called 'lenet6'; there are .*lenet5, .*torchvision"):
        net("lenet6", DIGIT)
    with pytest.raises(RecipeError, match=r"torchvision has no model 'resnet19'; it has .*resnet18.*vgg16"):
        net("torchvision/resnet19", PHOTO)


def test_a_classifier_normalises_inside() -> None:
    model = Classifier(torch.nn.Flatten(), ("a", "b", "c", "d"), InputSize(2, 2, 1))
    images = torch.tensor([[0, 255], [0, 255]], dtype=torch.uint8)[None, :, :, None]
    model.fit_to(images)  # mean 1/2; standard deviation of 0, 1, 0, 1 with n - 1: sqrt(1/3)
    expected = torch.tensor([-1.0, 1.0, -1.0, 1.0]) * 0.5 * 3**0.5
    assert torch.allclose(model(images.permute(0, 3, 1, 2) / 255)[0], expected)


def test_a_model_that_looks_into_the_mirror_says_the_same_of_a_picture_and_of_its_mirror_image() -> None:
    torch.manual_seed(0)
    size, pixels = InputSize(28, 28, 1), torch.rand(3, 1, 28, 28)
    model = Classifier(net("lenet5", size), tuple("0123456789"), size, mirror=True).eval()
    plain = Classifier(model.net, model.classes, size).eval()
    expected = (plain(pixels) + plain(pixels.flip(3))) / 2
    torch.testing.assert_close(model(pixels), expected)
    torch.testing.assert_close(model(pixels.flip(3)), expected)
    assert multiply_adds(model) == 2 * multiply_adds(plain)
    torch.testing.assert_close(model.train()(pixels), plain.train()(pixels))  # it learns from one look


def test_whitened_patches_have_no_correlation_and_variance_one() -> None:
    model = Classifier(net("airbench", InputSize(32, 32, 3)), tuple("0123456789"), InputSize(32, 32, 3))
    rows = torch.randint(0, 256, (50, 32, 1, 1), dtype=torch.uint8)
    images = (rows / 2 + torch.randint(0, 128, (50, 32, 32, 3))).to(torch.uint8)  # strongly correlated along a row
    model.fit_to(images)
    whitened = model.net[0]((to_pixels(images) - model.mean) / model.std)
    half = whitened[:, :12].transpose(0, 1).flatten(1)
    assert torch.allclose(half @ half.T / half.shape[1], torch.eye(12), atol=0.1)
    assert torch.allclose(whitened[:, :12], -whitened[:, 12:])


def test_a_layer_that_looks_at_training_pixels_sees_the_whole_set_whose_classes_come_in_order() -> None:
    class Looks(torch.nn.Flatten):
        def fit_to(self, pixels: torch.Tensor) -> None:
            self.seen = pixels

    layer = Looks()
    images = (
        (torch.arange(12_000) // 1200 * 20).to(torch.uint8).reshape(-1, 1, 1, 1)
    )  # ten classes, one brightness each
    Classifier(layer, tuple("0123456789"), InputSize(1, 1, 1)).fit_to(images)
    values, counts = layer.seen.unique(return_counts=True)
    assert len(values) == 10
    assert counts.tolist() == [500] * 10
