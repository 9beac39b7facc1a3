"""Linear maps of planes in ONNX files, as torch exports them."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from dmpc.compiler import Options, import_layers
from dmpc.errors import ImportFailure
from dmpc.frontend import open_model
from dmpc.ir.interpret import interpret
from tests.dmpc.frontend.loops import exported
from tests.dmpc.frontend.torch_program.test_linear_maps import Net, X

torch.manual_seed(0)
MAPS = {
    "transposed": nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed without a bias": nn.ConvTranspose2d(4, 3, (2, 3), stride=(2, 1), bias=False),
    "nearest": nn.Upsample(scale_factor=2),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "at corners": nn.Upsample(size=(4, 9), mode="bilinear", align_corners=True),
    "bicubic": nn.Upsample(scale_factor=1.5, mode="bicubic"),
    "shuffled": nn.PixelShuffle(2),
    "means that are padded": nn.AvgPool2d(3, 2, 1),
    "means of what is there": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "means of the rest": nn.AvgPool2d(4, 3, ceil_mode=True),
    "zeros around": lambda z: functional.pad(z, (1, 2, 0, 1)),
    "zeros before a convolution": nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(4, 3, 3)),
    "reflected": lambda z: functional.pad(z, (1, 2, 0, 1), mode="reflect"),
}


@pytest.mark.parametrize("name", MAPS)
@torch.no_grad()
def test_a_linear_map_of_planes(name, tmp_path):
    net, path = Net(MAPS[name]).eval(), str(tmp_path / "planes.onnx")
    onnx.save(exported(net, torch.from_numpy(X[:1]), dynamo=False), path)
    layers = import_layers(open_model(path), Options())
    wanted = net(torch.from_numpy(X)).numpy()
    assert np.ptp(wanted, axis=0).min() > 0.01
    np.testing.assert_allclose(interpret(layers, X).logits, wanted, atol=1e-5)


def test_a_region_is_no_map_of_planes(tmp_path):
    net, path = Net(MAPS["bilinear"]).eval(), str(tmp_path / "planes.onnx")
    model = exported(net, torch.from_numpy(X[:1]), dynamo=False)
    for node in model.graph.node:
        for one in node.attribute:
            if one.name == "coordinate_transformation_mode":
                one.s = b"tf_crop_and_resize"
    onnx.save(model, path)
    with pytest.raises(ImportFailure, match="Resize"):
        import_layers(open_model(path), Options())
