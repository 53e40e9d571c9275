"""Stand-ins for the repositories of the catalogue's commands: the layout, arguments, folders, names and quirks of each
official script, with an inversion for its network.

Each is written from what the script at the commit under `source` in the catalogue does with its
arguments and files; whatever a clone lacks, they lack too. Where a script moves its network to a graphics processor, a
stand-in looks at which ones it would see there. None of them imports what a network would need.
"""

from __future__ import annotations

HELPER = """
import os, sys
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))

def cuda():
    with open(os.path.join(HERE, "devices")) as file:
        if os.environ.get("CUDA_VISIBLE_DEVICES") != file.read():
            sys.exit("No CUDA GPUs are available")

def network():
    if os.path.exists("memory is full"):
        raise RuntimeError("CUDA out of memory")

def need(*files):
    for file in files:
        if not os.path.exists(file):
            sys.exit("no network to download %s" % file)

def opened(file, size=None):
    image = Image.open(file).convert("RGB")
    return image.resize(size) if size and size != image.size else image

def restored(file, size=None):
    return ImageOps.invert(opened(file, size))
"""
"""The module `standin` of every clone; the file `devices` beside it says which processors the user lets it see."""

DR2 = """
import os
import standin

class DR2E:
    def __init__(self, sr="SPAR", cuda=0):
        os.environ["CUDA_VISIBLE_DEVICES"] = str(cuda)
        standin.cuda()
        standin.need("./weights/DR2_FFHQ.pkl", "./weights/SPARNetHD_FFHQ_DR2aug.pth")
        self.name = sr

    def inference(self, img_pth, save_dir=None, N=8, tau=0):
        stem = img_pth.split("/")[-1].split(".")[0]
        for stage, end, size in (("dr2", "", (256, 256)), ("enhancement", "_" + self.name, (512, 512))):
            if not os.path.exists(os.path.join(save_dir, stage)):
                os.mkdir(os.path.join(save_dir, stage))
            name = "%s_(N%02dT%02d)%s.png" % (stem, N, tau, end)
            standin.restored(img_pth, size).save(os.path.join(save_dir, stage, name))
"""

DIFFACE = """
import argparse
from pathlib import Path
import standin

parser = argparse.ArgumentParser()
parser.add_argument("-i", "--in_path", default="./testdata/cropped_faces")
parser.add_argument("-o", "--out_path", default="./results")
parser.add_argument("--aligned", action="store_true")
parser.add_argument("--use_fp16", action="store_true")
parser.add_argument("--task", default="restoration", choices=["restoration", "inpainting"])
parser.add_argument("--eta", type=float, default=0.5)
parser.add_argument("--bs", type=int, default=1)
parser.add_argument("--seed", type=int, default=12345)
parser.add_argument("--draw_box", action="store_true")
args = parser.parse_args()
standin.need("configs/sample/iddpm_ffhq512_swinir.yaml", "weights/estimator/swinir_restoration512_L1.pth",
             "weights/diffusion/iddpm_ffhq512_ema500000.pth")
standin.cuda()
faces = Path(args.out_path) / "restored_faces"
if not args.aligned:
    raise SystemExit("looks for faces first")
faces.mkdir(parents=True)
for file in sorted(Path(args.in_path).iterdir()):
    standin.restored(file).save(faces / (file.stem + ".png"))
"""

DAEFR = """
import argparse, glob, os, sys

sys.path.append(os.getcwd())
import standin
from main_DAEFR import instantiate_from_config

parser = argparse.ArgumentParser()
parser.add_argument("-r", "--resume", nargs="?")
parser.add_argument("-b", "--base", nargs="*", default=[])
parser.add_argument("-c", "--config", nargs="?", const=True, default="")
parser.add_argument("--outdir", required=True)
parser.add_argument("--test_path", default="inputs/whole_imgs")
parser.add_argument("--suffix")
parser.add_argument("--aligned", action="store_true")
opt, unknown = parser.parse_known_args()
if not (os.path.isfile(opt.resume) and os.path.exists(opt.config) and opt.aligned) or unknown:
    raise ValueError("Cannot find {}".format(opt))
standin.cuda()
for img_path in sorted(glob.glob(os.path.join(opt.test_path, "*"))):
    basename, _ = os.path.splitext(os.path.basename(img_path))
    cropped_face = standin.opened(img_path, (512, 512))
    try:
        standin.network()
        restored_face = standin.restored(img_path, (512, 512))
    except RuntimeError as error:
        print("failed inference: %s" % error)
        restored_face = cropped_face
    folder = os.path.join(opt.outdir, "restored_faces")
    os.makedirs(folder, exist_ok=True)
    restored_face.save(os.path.join(folder, "%s_%02d.png" % (basename, 0)))
"""

INTERLCM = """
import argparse, glob, os, re
import standin

def tensor2img(face, rgb2bgr, min_max):
    return face

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", "--input_path", default="./inputs/whole_imgs")
    parser.add_argument("-o", "--output_path", default="results")
    parser.add_argument("-s", "--upscale", type=int, default=2)
    parser.add_argument("--has_aligned", action="store_true")
    parser.add_argument("--num_inference_steps", type=int, default=4)
    parser.add_argument("--visual_encoder_path", default="weights/InterLCM/visual_encoder_3step.pth")
    parser.add_argument("--spatial_encoder_path", default="weights/InterLCM/spatial_encoder_3step.pth")
    parser.add_argument("--sd_path", default="runwayml/stable-diffusion-v1-5")
    parser.add_argument("--lcm_path", default="SimianLuo/LCM_Dreamshaper_v7")
    parser.add_argument("--colorfix_type", default="wavelet")
    args = parser.parse_args()
    step = int(re.findall(r"\\d+", args.visual_encoder_path)[0])
    head = args.output_path.split("/")[0]
    args.output_path = args.output_path.replace(head, f"{head}[{args.colorfix_type}]/interlcm_{step}step")
    assert args.num_inference_steps - 1 == step
    if args.input_path.endswith(("jpg", "png", "mp4", "avi")):
        raise SystemExit("takes the folder for a file")
    files = sorted(glob.glob(os.path.join(args.input_path, "*.[jpJP][pnPN]*[gG]")))
    if not args.output_path is None:
        result_root = args.output_path
    standin.need(args.visual_encoder_path, args.spatial_encoder_path)
    if args.sd_path not in ("stable-diffusion-v1-5/stable-diffusion-v1-5", "/a/folder"):
        raise OSError(f"{args.sd_path} is not a local folder and is not a valid model identifier")
    standin.cuda()
    for path in files:
        basename, _ = os.path.splitext(os.path.basename(path))
        cropped_face_t = standin.opened(path, (512, 512))
        try:
            standin.network()
            restored_face = standin.restored(path, (512, 512))
        except Exception as error:
            print(f"failed inference: {error}")
            restored_face = tensor2img(cropped_face_t, rgb2bgr=True, min_max=(-1, 1))
        folder = os.path.join(result_root, "restored_faces")
        os.makedirs(folder, exist_ok=True)
        restored_face.save(os.path.join(folder, f"{basename}.png"))

if __name__ == "__main__":
    main()
"""

MIRNET = """
import argparse, os
import standin

parser = argparse.ArgumentParser()
parser.add_argument("--input_dir", default="./datasets/fivek_sample_images/")
parser.add_argument("--result_dir", default="./results/enhancement/fivek/")
parser.add_argument("--weights", default="./pretrained_models/enhancement/model_fivek.pth")
parser.add_argument("--gpus", default="0")
parser.add_argument("--bs", default=1, type=int)
parser.add_argument("--save_images", action="store_true")
args = parser.parse_args()
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
os.environ["CUDA_VISIBLE_DEVICES"] = args.gpus
os.makedirs(args.result_dir, exist_ok=True)
clean = sorted(os.listdir(os.path.join(args.input_dir, "groundtruth")))
noisy = sorted(os.listdir(os.path.join(args.input_dir, "input")))
standin.need(args.weights)
standin.cuda()
for name, _ in zip(clean, noisy):
    image = standin.restored(os.path.join(args.input_dir, "input", name))
    if image.width % 4 or image.height % 4:
        raise RuntimeError("The size of tensor a must match the size of tensor b")
    if args.save_images:
        image.save(args.result_dir + name[:-4] + ".png")
"""

GSAD = """
import argparse, json, os, time
import standin

def parse(args):
    with open(args.config) as file:
        opt = json.loads("".join(line.split("//")[0] + "\\n" for line in file))
    root = os.path.join("experiments", "{}_{}".format(opt["name"], time.strftime("%y%m%d_%H%M%S")))
    for key, path in opt["path"].items():
        if "resume" not in key and "experiments" not in key:
            opt["path"][key] = os.path.join(root, path)
            os.makedirs(opt["path"][key], exist_ok=True)
    os.environ["CUDA_VISIBLE_DEVICES"] = args.gpu_ids
    return opt

parser = argparse.ArgumentParser()
parser.add_argument("--dataset", default="./config/dataset.yml")
parser.add_argument("--input", default="images/unpaired/")
parser.add_argument("-c", "--config", default="config/test_unpaired.json")
parser.add_argument("-p", "--phase", choices=["train", "val"], default="train")
parser.add_argument("-gpu", "--gpu_ids", default="0")
args = parser.parse_args()
opt = parse(args)
os.environ["CUDA_VISIBLE_DEVICES"] = "0"
int(opt["train"]["manual_seed"])
standin.need(opt["path"]["resume_state"] + "_gen.pth")
standin.cuda()
result_path = opt["path"]["results"]
Image_names = sorted(os.listdir(args.input))
for i in range(len(Image_names)):
    target = '{}/{}_normal.png'.format(result_path, i+1)
    standin.restored(args.input + Image_names[i]).save(target)
"""

KIND = """
import os
from glob import glob
import standin

for net in ("decom_net_train", "illumination_adjust_net_train", "Restoration_net_train"):
    standin.need("./checkpoint/%s/checkpoint" % net)
files = glob('./test/*')
files.sort()
sample_dir = './results/test/'
if not os.path.isdir(sample_dir):
    os.makedirs(sample_dir)
for file in files:
    name = os.path.split(file)[1]
    standin.restored(file).save(os.path.join(sample_dir, "%s_kindle.png" % name[: name.find(".")]), "png")
"""

AST = """
import argparse, os, sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(here, "../dataset/"))
sys.path.append(os.path.join(here, ".."))
from dataset.dataset_derain_drop import *
import standin

parser = argparse.ArgumentParser()
parser.add_argument("--input_dir", default="./dataset/AST_B/deraining/spad/val/")
parser.add_argument("--result_dir", default="./results/deraining/spad/AST_B/se")
parser.add_argument("--weights", default="./logs/deraining/spad/AST_B/models/model_best.pth")
parser.add_argument("--gpus", default="0")
parser.add_argument("--arch", default="AST_B")
parser.add_argument("--token_mlp", default="leff")
args = parser.parse_args()
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
os.environ["CUDA_VISIBLE_DEVICES"] = "2"
os.makedirs(args.result_dir, exist_ok=True)
if args.token_mlp != "frfn":
    raise SystemExit("Missing key(s) in state_dict")
standin.need(args.weights)
standin.cuda()
for clean, noisy in get_test_data(args.input_dir):
    image = standin.restored(noisy)
    if min(image.size) < 384:
        raise RuntimeError("shape is invalid for input of size")
    name = os.path.split(clean)[-1]
    image.save(os.path.join(args.result_dir, name + ".PNG"))
    with open(os.path.join(args.result_dir, "psnr_ssim.txt"), "a") as log:
        log.write(name + ".PNG ---->PSNR\\n")
"""

AST_DATA = """
import os

def get_test_data(folder):
    names = [sorted(os.listdir(os.path.join(folder, kind))) for kind in ("gt", "data")]
    return [(os.path.join(folder, "gt", clean), os.path.join(folder, "data", noisy)) for clean, noisy in zip(*names)]
"""

DIFFIR = """
import argparse, os
import standin
from DiffIR.archs.S2_arch import DiffIRS2

parser = argparse.ArgumentParser()
parser.add_argument("--scale", type=int, default=4)
parser.add_argument("--model_path", default="./experiments/DiffIRS2-GAN.pth")
parser.add_argument("--im_path", default="/mnt/track1-valid-input")
parser.add_argument("--res_path", default="./outputs/")
args = parser.parse_args()
os.makedirs(args.res_path, exist_ok=True)
standin.need(args.model_path)
standin.cuda()
for name in sorted(os.listdir(args.im_path)):
    if name.endswith(".png"):
        image = standin.restored(os.path.join(args.im_path, name))
        image = image.resize((image.width * args.scale, image.height * args.scale))
        image.save(os.path.join(args.res_path, name.split(".")[0] + "_out.png"))
"""

PUGAN = """
import argparse, os
from glob import glob
import yaml
import standin
from vision import InterpolationMsode

parser = argparse.ArgumentParser()
parser.add_argument("--cfg_file", default="test.yaml")
args = parser.parse_args()
with open(args.cfg_file) as file:
    cfg = yaml.safe_load(file)
for key in ("path_gen", "path_d", "path_t", "path_a"):
    assert os.path.exists(cfg[key]), "model not found"
cfg["gtr_dir"], cfg["chans"]
standin.cuda()
for path in sorted(glob(os.path.join(cfg["data_dir"], "*.*"))):
    image = standin.restored(path, (cfg["im_width"], cfg["im_height"]))
    image.save(os.path.join(cfg["sample_dir"], os.path.basename(path)))
with open("./evaluations/measure.txt",'a+') as f:
    f.write("test on " + cfg["data_dir"])
"""

ADP = """
import argparse, os
import standin

parser = argparse.ArgumentParser()
parser.add_argument("--output", default="output.png")
parser.add_argument("--model-name", default="mono_1024x320")
parser.add_argument("--raw", action="store_true")
args = parser.parse_args()
folder = "."
path = folder + "/InputImages"
for file in sorted(os.listdir(path)):
    if os.path.isfile(path + "/" + file):
        source = folder + '/InputImages/' + file
        target = folder + '/OutputImages/' + file
        standin.need(os.path.join("models", args.model_name, "encoder.pth"))
        if os.environ.get("MPLBACKEND") != "Agg":
            raise SystemExit("no display name and no $DISPLAY environment variable")
        standin.restored(source).save(target, format="png")
"""

AUTODIR = """
import argparse, os
import standin

parser = argparse.ArgumentParser()
parser.add_argument("--resolution", default=768, type=int)
parser.add_argument("--need-resize", action="store_true")
parser.add_argument("--steps", default=100, type=int)
parser.add_argument("--config", default="configs/generate.yaml")
parser.add_argument("--ckpt", default="checkpoints/autodir.ckpt")
parser.add_argument("--input", required=True)
parser.add_argument("--output", required=True)
parser.add_argument("--cfg-text", default=1.0, type=float)
parser.add_argument("--seed", type=int)
args = parser.parse_args()
standin.need(args.config, args.ckpt)
standin.cuda()
name = os.path.basename(args.input).split(".")[0]
image = standin.opened(args.input)
image.save(os.path.join(args.output, name + "_input.png"))
if image.width % 64 or image.height % 64:
    raise RuntimeError("Sizes of tensors must match except in dimension 1")
clean = all(low == high for low, high in image.getextrema())
for step in range(0 if clean else 2):
    result = standin.restored(args.input) if step else image
    for end in ("_input", "_result", "_result_w_SCM"):
        shown = result if end.endswith("M") else image
        shown.save(os.path.join(args.output, name + "_step_" + str(step) + end + ".png"))
"""

AGENTICIR = """
import json
from pathlib import Path
import yaml
import standin

class IRAgent:
    def __init__(self, input_path, output_dir, llm_config_path=Path("config.yml"), evaluate_degradation_by="depictqa",
                 with_retrieval=True, schedule_experience_path=Path("memory/schedule_experience.json"),
                 with_reflection=True, reflect_by="depictqa", with_rollback=True, silent=False):
        self.source = input_path
        self.work = output_dir / (input_path.stem + "-261129_120000")
        (self.work / "img_tree" / "0-img").mkdir(parents=True)
        standin.opened(input_path).save(self.work / "img_tree" / "0-img" / "input.png")
        config = yaml.safe_load(llm_config_path.read_text())
        self.key = config["OPENAI_API_KEY"]
        config["OPENAI_MODEL"], config["MAX_TOKENS"], config["TEMPERATURE"]
        json.loads(schedule_experience_path.read_text())["distilled"]

    def run(self):
        if self.key != "a key":
            raise SystemExit("Incorrect API key provided")
        standin.restored(self.source).save(self.work / "result.png")
"""
AGENTICIR_CONFIG = "GPT:\n  API_KEY: ''\n  MODEL: gpt-4-turbo\n  MAX_TOKENS: 3000\n  TEMPERATURE: 0.0\n"

RAR = """
import os
from dataclasses import dataclass
from PIL import Image
import standin
import sys

@dataclass
class RARInference:
    config: str = "./configs/infer_cfg.yaml"
    model_path: str = "./checkpoints/RAR_modelzoo/RAR/checkpoints/latest.pth"
    work_dir: str = "tmp/"
    num_rounds: int = 4
    detail: bool = True

def load_rar_model():
    if len(sys.argv) > 1:
        sys.exit("unrecognized arguments")
    config = args = RARInference()
    standin.cuda()
    standin.need(args.config, args.model_path)
    os.makedirs(args.work_dir, exist_ok=True)
    return "model", "vae", args, config, "cuda"

def RAR_process(img, fname, model, vae, args, config, device):
    save_folder = os.path.join(config.work_dir, fname)
    os.makedirs(save_folder, exist_ok=True)
    img = img.resize((256, 256))
    results = []
    for n_round in range(args.num_rounds + 1):
        last = n_round == args.num_rounds
        if last and not args.detail:
            path = os.path.join(save_folder, "%s_step%d_Haze.png" % (fname.split(".")[0], n_round))
            standin.ImageOps.invert(img).save(path)
            return [standin.ImageOps.invert(img)], ["Haze"]
        if args.detail:
            results.append(img)
    return results, ["Haze"]

model, vae, args, config, device = load_rar_model()

PREDEFINED_IMAGES = {
    "Prague": {"input": "demo_sample/.default/Prague/Prague.jpg", "output": None},
}
import streamlit_is_not_here
"""

CLONES: dict[str, dict[str, str]] = {
    "dr2": {"dr2e.py": DR2},
    "difface": {"inference_difface.py": DIFFACE, "configs/sample/iddpm_ffhq512_swinir.yaml": "im_size: 512\n"},
    "daefr": {
        "scripts/test.py": DAEFR,
        "main_DAEFR.py": "def instantiate_from_config(config): pass\n",
        "configs/DAEFR.yaml": "model: {}\n",
    },
    "interlcm": {"inference_InterLCM.py": INTERLCM},
    "mirnet": {"test_enhancement.py": MIRNET},
    "gsad": {"test_unpaired.py": GSAD},
    "kind": {"evaluate.py": KIND},
    "ast": {"test/test_raindrop.py": AST, "dataset/dataset_derain_drop.py": AST_DATA},
    "diffir": {
        "DiffIR-RealSR/inference_diffir.py": DIFFIR,
        "DiffIR-RealSR/DiffIR/archs/S2_arch.py": "class DiffIRS2: pass\n",
        "DiffIR-RealSR/standin.py": HELPER,
    },
    "pugan": {"test.py": PUGAN, "vision.py": "class InterpolationMode: pass\n"},
    "adp": {"main.py": ADP},
    "autodir": {"eval_w_SCM.py": AUTODIR, "configs/generate.yaml": "model: {}\n"},
    "rar-sd3.5": {"run.py": RAR, "configs/infer_cfg.yaml": "data: {}\n"},
    "agenticir": {
        "pipeline/iragent.py": AGENTICIR,
        "config.yml": AGENTICIR_CONFIG,
        "memory/schedule_experience.json": '{"distilled": "experience"}',
    },
}
"""Method → the files of its clone, as far as its script touches them."""
