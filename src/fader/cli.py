"""The command line: verbs, each a thin call of the API.

What a verb needs is imported when it runs, so that `fader --help` is instant.
"""

# Annotations are evaluated here and not postponed: those of `train` depend on the preset.
import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

import tyro
from docstring_parser import parse_from_object
from tyro.conf import FlagCreatePairsOff, Positional, arg
from tyro.constructors import PrimitiveConstructorSpec
from tyro.extras import SubcommandApp

import fader
from fader.config import ICGAN_PRESETS, PRESETS, ClassifierConfig, NetworkConfig, configure, configure_icgan
from fader.datasets.portraits.specification import COUNT, SIZE
from fader.errors import Interrupted, ProcessLostError, UserError, printable, ran_out_of_memory
from fader.files import REFUSALS
from fader.locations import parse
from fader.progress import say

DEFAULT_PRESET = "small"
OF_DATASET = ("size", "channels")  # Fields whose default is the dataset's, not the preset's.

# A folder, or a URL or a model's name, which a Path would spoil.
Location = Annotated[
    Path | str,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda texts: parse(texts[0]),
        is_instance=lambda value: isinstance(value, Path | str),
        str_from_instance=lambda value: [str(value)],
    ),
]
Dataset = Annotated[Positional[Location], arg(metavar="DATASET")]
OfDataset = Annotated[Location | None, arg(metavar="DATASET", help_behavior_hint="")]
Model = Annotated[Positional[Location], arg(metavar="MODEL")]
Models = Annotated[Positional[tuple[Location, ...]], arg(metavar="MODEL ...", help_behavior_hint="")]
Pictures = Annotated[Positional[tuple[Path, ...]], arg(metavar="PICTURE ...", help_behavior_hint="")]
Output = Annotated[Path, arg(aliases=["-o"])]
Address = Annotated[str, arg(aliases=["--host"])]
Names = Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: those of their folders)")]
Attributes = Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: all)")]
Folder = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
StudyFolder = Annotated[Positional[Path], arg(metavar="STUDY")]
Consent = Annotated[
    Path | None,
    arg(metavar="FILE", help="A text to show before the first question, instead of fader's.", help_behavior_hint=""),
]
Device = Annotated[str, arg(help='"cpu", "cuda", "mps", ..., or "auto" for the fastest that is there.')]
Split = Literal["train", "valid", "test"]
Flag = FlagCreatePairsOff[bool]
Strict = Annotated[Flag, arg(help="Stop at the first picture that cannot be used, instead of leaving it out.")]
Crop = Annotated[
    tuple[int, int, int, int] | None,
    arg(
        metavar="LEFT TOP RIGHT BOTTOM",
        help="What to cut out, in pixels.",
        help_behavior_hint="(default: centred square)",
    ),
]
Workers = Annotated[
    int | None, arg(metavar="INT", help="Processes.", help_behavior_hint="(default: one for each processor)")
]
StepCount = Annotated[
    int | None, arg(metavar="INT", help_behavior_hint=f"(default: {PRESETS['small'].training.steps})")
]
Align = Annotated[Flag, arg(help="Find the face in each picture, and place it as in the training pictures.")]
Paste = Annotated[Flag, arg(help="Put the edited face back into the whole picture, in full resolution; aligns.")]
Face = Annotated[
    int | None,
    arg(
        metavar="INT",
        help="Which face of a picture with several to edit.",
        help_behavior_hint="(default: 1, the largest)",
    ),
]
Overwrite = Annotated[Flag, arg(help="Replace what is at the output.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `fader` with these arguments, by default those of the process, and return the exit code.

    0: done. 2: something that the user can mend, said in a sentence. 75: another process of the same training ended.
    130 or 143: stopped by Ctrl-C or SIGTERM. Anything else is a defect of fader and leaves a traceback.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]

    def run() -> None:
        if arguments == ["--version"]:
            print(f"fader {fader.__version__}")
        else:
            _app(*_system_and_preset(arguments)).cli(
                prog="fader",
                description="Slide the attributes of pictures with a Fader Network. (--version: which fader this is.)",
                args=arguments,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff),
            )

    return exit_code(run)


def exit_code(run: Callable[[], object]) -> int:
    """Call a command, say in a sentence why it was left if it was, and return its exit code, as `main` has them."""
    try:
        run()
        sys.stdout.flush()
    except UserError as error:
        say(f"fader: {error}")
        return 2
    except ProcessLostError as error:
        say(f"fader: {error}")
        return 75  # EX_TEMPFAIL of sysexits.h
    except Interrupted as interruption:
        say(f"fader: {interruption}")
        return 128 + interruption.signal
    except KeyboardInterrupt:
        say("fader: stopped.")
        return 130
    except BrokenPipeError:
        # Whoever read the output has had enough; what is still buffered must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, OSError) and error.filename is not None and error.errno in REFUSALS:
            name = printable(str(error.filename))
            say(f"fader: {name}: the system refuses it ({error.strerror}); name another path or change what is there.")
        elif ran_out_of_memory(error):
            say("fader: memory ran out; make room, or take fewer or smaller pictures at once or a smaller model.")
        else:
            raise
        return 2
    return 0


def _app(system: str, preset: str) -> SubcommandApp:
    prepare = SubcommandApp()
    prepare.command(name="folder")(prepare_folder)
    prepare.command(name="celeba")(prepare_celeba)
    prepare.command(name="flowers")(prepare_flowers)
    prepare.command(name="portraits")(prepare_portraits)
    study = SubcommandApp()
    study.command(name="create")(study_create)
    study.command(name="serve")(study_serve)
    study.command(name="export")(study_export)
    study.command(name="import")(study_import)
    study.command(name="report")(study_report)
    study.command(name="select")(study_select)
    exporting = SubcommandApp()
    exporting.command(name="onnx")(export_onnx)
    exporting.command(name="web")(export_web)
    importing = SubcommandApp()
    importing.command(name="released")(import_released)
    app = SubcommandApp()
    app.command(demo)
    app.command(prepare, name="prepare", help="Make a dataset of pictures and their labels.")
    app.command(classifier)
    app.command(train_verb(preset) if system == "fader" else icgan_verb(preset))
    app.command(select)
    app.command(evaluate)
    app.command(compare)
    app.command(swap)
    app.command(slide)
    app.command(studio)
    app.command(study, name="study", help="Put models before people, by the protocol of section 5.1.")
    app.command(exporting, name="export", help="Take a model out of PyTorch.")
    app.command(importing, name="import", help="Make a model folder of a model that others made.")
    app.command(info)
    return app


def demo(
    output: Output = Path("runs/demo"), count: int = COUNT, steps: StepCount = None, device: Device = "auto"
) -> None:
    """Draw portraits, train a Fader Network on them and evaluate it; what is done already is not done again.

    Args:
        output: The run folder; the portraits go beside it.
        count: How many portraits to draw; fewer for a quick look.
        steps: How long to train; less for a quick look.
    """
    from fader import demo

    print(demo.demo(output, count, steps, device))


def prepare_folder(
    pictures: Annotated[Positional[Path], arg(metavar="PICTURES")],
    table: Annotated[Positional[Path | None], arg(metavar="[TABLE]", help_behavior_hint="")] = None,
    *,
    output: Output,
    attributes: Attributes = (),
    file_column: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the first)")] = None,
    size: int = 64,
    channels: Literal[1, 3] = 3,
    crop: Crop = None,
    align: Flag = False,
    random_split: Annotated[tuple[float, float] | None, arg(metavar="VALID TEST", help_behavior_hint="")] = None,
    seed: int = 0,
    workers: Workers = None,
    strict: Strict = False,
    overwrite: Overwrite = False,
) -> None:
    """Prepare a folder or zip of pictures with a table of labels, or with one sub-folder for each class.

    Args:
        pictures: A folder or a zip archive of pictures of any size and format.
        table: CSV, TSV or Parquet: a row for each picture, a column for each attribute.
        output: The dataset to write.
        attributes: The columns to take. Without a table: what to call the one attribute that the sub-folders are of.
        file_column: The column with the names of the files.
        size: Side of the prepared pictures in pixels: a power of two from 32.
        channels: 3 for colour, 1 for grey.
        align: Move, scale and turn every picture so that its largest face lies as in CelebA; without a face it is left
            out.
        random_split: Shares to draw for validation and test: 0.1 0.1, unless there is a column "split".
        seed: Another seed draws another split.
    """
    from fader.datasets import folder

    report = folder.prepare_folder(
        pictures,
        table,
        output,
        attributes=attributes or None,
        file_column=file_column,
        size=size,
        channels=channels,
        crop=crop,
        align=align,
        random_split=random_split,
        seed=seed,
        workers=workers,
        strict=strict,
        overwrite=overwrite,
    )
    print(report, end="")


def prepare_celeba(
    folder: Annotated[Positional[Path], arg(metavar="CELEBA")],
    output: Output,
    attributes: Attributes = (),
    size: int = 256,
    channels: Literal[1, 3] = 3,
    crop: Annotated[Crop, arg(help_behavior_hint="(default: 0 20 178 198)")] = None,
    workers: Workers = None,
    strict: Strict = False,
    overwrite: Overwrite = False,
) -> None:
    """Prepare CelebA: cropped to 178 x 178 and scaled, in the standard split (section 5.1).

    Args:
        folder: A folder or zip archive with img_align_celeba, list_attr_celeba and, if there, list_eval_partition.
        output: The dataset to write.
        attributes: The attributes to take.
        size: Side of the prepared pictures in pixels: a power of two from 32.
        channels: 3 for colour, 1 for grey.
    """
    from fader.datasets import celeba

    report = celeba.prepare_celeba(
        folder,
        output,
        attributes=attributes or None,
        size=size,
        channels=channels,
        crop=crop or celeba.CROP,
        workers=workers,
        strict=strict,
        overwrite=overwrite,
    )
    print(report, end="")


def prepare_flowers(
    folder: Annotated[Positional[Path], arg(metavar="FLOWERS")],
    output: Output,
    attributes: Attributes = (),
    at_least: int = 5,
    size: int = 64,
    channels: Literal[1, 3] = 3,
    random_split: Annotated[
        tuple[float, float] | None, arg(metavar="VALID TEST", help_behavior_hint="(default: 0.1 0.1)")
    ] = None,
    published_split: Flag = False,
    seed: int = 0,
    workers: Workers = None,
    strict: Strict = False,
    overwrite: Overwrite = False,
) -> None:
    """Prepare Oxford-102, flowers with the colours that their captions name (section 5.2).

    Args:
        folder: A folder or zip archive with jpg, text_c10 and, if there, imagelabels.mat and setid.mat.
        output: The dataset to write.
        attributes: The colours to take, of red, orange, yellow, pink, purple, blue and white.
        at_least: In how many of a flower's ten captions a colour has to be named.
        size: Side of the prepared pictures in pixels: a power of two from 32.
        channels: 3 for colour, 1 for grey.
        random_split: Shares to draw for validation and test.
        published_split: Take the split of setid.mat, which has 1,020 pictures for training.
        seed: Another seed draws another split.
    """
    from fader.datasets import flowers

    report = flowers.prepare_flowers(
        folder,
        output,
        attributes=attributes or None,
        at_least=at_least,
        size=size,
        channels=channels,
        random_split=random_split,
        published_split=published_split,
        seed=seed,
        workers=workers,
        strict=strict,
        overwrite=overwrite,
    )
    print(report, end="")


def prepare_portraits(
    output: Output,
    count: int = COUNT,
    first: int = 0,
    size: int = SIZE,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw portraits with known attributes: what the demo learns from.

    Args:
        output: The dataset to write.
        count: How many.
        first: The number of the first; portrait number i is the same in every dataset.
        size: Side of the pictures in pixels: a power of two from 32.
    """
    from fader.datasets.portraits import source

    report = source.prepare_portraits(output, count=count, first=first, size=size, workers=workers, overwrite=overwrite)
    print(report, end="")


def classifier(
    dataset: Dataset,
    output: Output,
    attributes: Attributes = (),
    device: Device = "auto",
    overwrite: Overwrite = False,
    *,
    config: ClassifierConfig = ClassifierConfig(),  # noqa: B008
) -> None:
    """Train an attribute classifier, to share between runs (`fader train --classifier`).

    Args:
        dataset: A dataset that `fader prepare` made, or its URL.
        output: The classifier folder to write.
        attributes: What to classify.
    """
    from fader.training.classifier import make_classifier_folder

    make_classifier_folder(dataset, output, attributes, config, device, overwrite)


def train_verb(preset: str) -> Callable[..., None]:
    """The verb `train`, whose help shows the values of this preset as defaults."""
    shown = PRESETS[preset]

    def train(
        dataset: Dataset,
        output: Output,
        system: Literal["fader", "icgan"] = "fader",
        preset: Literal["paper", "released", "small"] = DEFAULT_PRESET,  # type: ignore[assignment]
        attributes: Attributes = (),
        classifier: Folder = None,
        init: Annotated[Location | None, arg(metavar="MODEL", help_behavior_hint="")] = None,
        device: Device = "auto",
        *,
        network: Annotated[dict[str, Any], arg(constructor=_options(shown.network))],
        discriminator: Annotated[dict[str, Any], arg(constructor=_options(shown.discriminator))],
        training: Annotated[dict[str, Any], arg(constructor=_options(shown.training))],
    ) -> None:
        """Train a Fader Network, or go on with a run that was stopped: give the same command again.

        Args:
            dataset: A dataset that `fader prepare` made, or its URL. The networks take its size and channels.
            output: The run folder: model, samples, checkpoints, metrics.
            system: A Fader Network, or the paper's baseline: --system icgan --help shows its options.
            preset: The settings to start from: the paper's, its authors' code's, or 64 pixels on a CPU.
            attributes: What to learn to slide.
            classifier: A classifier folder to measure the swaps with; by default one is trained.
            init: A run or model to start from; its attributes may be others.
        """
        from fader.datasets.prepared import open_dataset
        from fader.training import processes
        from fader.training.loop import train

        processes.silence_all_but_one()
        data = open_dataset(dataset)
        fields = {name: getattr(data, name) for name in OF_DATASET} | network | discriminator | training
        config = configure(preset, **fields)
        train(dataset, output, config, attributes, classifier, init, device)

    return train


def icgan_verb(preset: str) -> Callable[..., None]:
    """The verb `train` of an IcGAN, whose help shows the values of this preset as defaults."""
    shown = ICGAN_PRESETS[preset]

    def train(
        dataset: Dataset,
        output: Output,
        system: Literal["fader", "icgan"] = "icgan",
        preset: Literal["paper", "small"] = DEFAULT_PRESET,  # type: ignore[assignment]
        attributes: Attributes = (),
        classifier: Folder = None,
        device: Device = "auto",
        *,
        network: Annotated[dict[str, Any], arg(constructor=_options(shown.network))],
        training: Annotated[dict[str, Any], arg(constructor=_options(shown.training))],
    ) -> None:
        """Train an IcGAN, the paper's baseline, or go on with a run that was stopped: give the same command again.

        Args:
            dataset: A dataset that `fader prepare` made with pictures of 64 pixels, or its URL.
            output: The run folder: model, samples, checkpoints, metrics.
            system: A Fader Network or an IcGAN.
            preset: The settings to start from: those of its authors, or half as wide for a CPU.
            attributes: What to learn to set.
            classifier: A classifier folder to check the generator with; by default one is trained.
        """
        from fader.datasets.prepared import open_dataset
        from fader.training.icgan import train_icgan

        fields = {"channels": open_dataset(dataset).channels} | network | training
        train_icgan(dataset, output, configure_icgan(preset, **fields), attributes, classifier, device)

    return train


def select(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    choose: Annotated[int | None, arg(metavar="EPOCH", help_behavior_hint="")] = None,
    output: Annotated[
        Path | None, arg(aliases=["-o"], metavar="PATH", help_behavior_hint="(default: RUN/candidates.png)")
    ] = None,
    dataset: OfDataset = None,
    count: int = 4,
    overwrite: Overwrite = False,
) -> None:
    """Show the candidates of a run side by side on training pictures, or choose one of them as its model.

    Args:
        run: A run folder.
        choose: Make the candidate of this epoch the model, instead of showing them.
        output: The picture of the candidates.
        dataset: Where the run's dataset is, if it was moved.
        count: Training pictures to show.
    """
    from fader.training import choice

    if choose is None:
        print(choice.show_candidates(run, output, dataset, count, overwrite))
    else:
        print(choice.choose(run, choose, dataset))


def evaluate(
    model: Model,
    dataset: OfDataset = None,
    split: Split = "test",
    judge: Folder = None,
    output: Annotated[
        Path | None, arg(aliases=["-o"], metavar="PATH", help_behavior_hint="(default: RUN/evaluation)")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Measure a model: reconstruction, swaps, what the latent still tells; and say why a fader does little.

    Args:
        model: A run or model folder, portraits (the model that comes with fader) or hf:user/model.
        dataset: A dataset to evaluate on; by default the run's.
        split: Which of its splits.
        judge: A classifier folder to judge the swaps by; by default one is trained and kept.
        output: The folder to write: report.json, report.md, per_image.csv and figures.
    """
    from fader.evaluation import evaluate, report

    print(report.summary(evaluate.evaluate(model, dataset, split, judge, output, device, overwrite)))


def compare(
    models: Models,
    *,
    output: Output,
    dataset: OfDataset = None,
    split: Split = "test",
    names: Annotated[
        tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: those of their folders)")
    ] = (),
    judge: Folder = None,
    inception: Annotated[Path | None, arg(metavar="WEIGHTS.pth", help_behavior_hint="")] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Measure several models on the same pictures: Table 1 of the paper, strength, naturalness and all of `evaluate`.

    Args:
        models: Runs or models, named as for `evaluate`; differences are to the first.
        output: The folder to write: report.json, report.md, per_image.csv and figures.
        dataset: A dataset with the attributes of all models; by default that of the first run.
        split: Which of its splits.
        names: What to call the models, one for each.
        judge: A classifier folder to judge all by; by default one is trained and kept beside the output.
        inception: The weights of the Inception network (weights-inception-2015-12-05-6726825d.pth), for KID and FID by
            its features, as published ones are; by default they are of the judge's.
    """
    from fader.evaluation import compare, report

    found = compare.compare(models, output, dataset, split, names, judge, device, overwrite, inception)
    print(report.comparison_summary(found))


def swap(
    model: Model,
    pictures: Pictures,
    output: Output,
    attributes: Attributes = (),
    together: Flag = False,
    values: Annotated[tuple[str, ...], arg(name="set", metavar="NAME=VALUE ...", help_behavior_hint="")] = (),
    separate: Folder = None,
    align: Align = False,
    paste: Paste = False,
    face: Face = None,
    dataset: OfDataset = None,
    split: Split = "test",
    count: int = 10,
    device: Device = "auto",
    workers: Annotated[Workers, arg(help="Threads that decode and encode, for a whole folder.")] = None,
    strict: Strict = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw pictures with each attribute swapped, one at a time (figure 3 of the paper), or edit a whole folder.

    An output with the ending of a picture is a figure. Without one it is a folder, to which the pictures of a whole
    folder are written edited, each as a file; the same command goes on with what was stopped.

    Args:
        model: A run or model folder, portraits (the model that comes with fader) or hf:user/model.
        pictures: Picture files of any size, or folders of them; none with --dataset.
        output: The figure or the folder to write.
        attributes: What to swap.
        together: Swap all of these attributes at once as well (figure 4).
        values: Of a whole folder: set these attributes in every picture, instead of swapping; 0 absent, 1 present.
        separate: A folder to write every edited picture of a figure to by itself.
        dataset: Take pictures and their true labels from this dataset.
        split: Which of its splits.
        count: How many of its pictures.
    """
    from fader.images import names_picture

    aligned = _alignment(align, paste, face)
    if names_picture(output):
        if values or strict or workers is not None:
            raise UserError("--set, --workers and --strict are for a whole folder: name a folder as the output.")
        from fader.editing import figure

        shown = _to_show(pictures, dataset, split, count)
        _print_paths(figure.swap(model, shown, output, attributes, together, separate, aligned, device, overwrite))
    else:
        if separate or dataset or len(pictures) != 1:
            raise UserError(
                f"{output} has no picture's ending and so is a folder, which takes one folder of pictures and neither"
                " --separate nor --dataset; a figure ends in .png."
            )
        from fader.editing import folder

        setting = _assignments(values)
        print(
            folder.edit_folder(
                model, pictures[0], output, setting, attributes, together, aligned, workers, strict, device, overwrite
            )
        )


def slide(
    model: Model,
    pictures: Pictures,
    output: Output,
    attribute: Annotated[str, arg(metavar="NAME")],
    start: Annotated[float, arg(name="from")] = -1.0,
    stop: Annotated[float, arg(name="to")] = 2.0,
    steps: int = 10,
    gif: Flag = False,
    separate: Folder = None,
    align: Align = False,
    paste: Paste = False,
    face: Face = None,
    dataset: OfDataset = None,
    split: Split = "test",
    count: int = 10,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Draw pictures with one attribute slid from a value to another (figure 1 of the paper).

    Args:
        model: A run or model folder, portraits (the model that comes with fader) or hf:user/model.
        pictures: Picture files of any size, or folders of them; none with --dataset.
        output: The figure to write.
        attribute: What to slide.
        start: Its first value: 0 is absent, 1 is present, values beyond exaggerate.
        stop: Its last value.
        steps: How many values, evenly spaced.
        gif: Write an animation as well, there and back, with the ending .gif.
        separate: A folder to write every edited picture to by itself.
        dataset: Take pictures and their true labels from this dataset.
        split: Which of its splits.
        count: How many of its pictures.
    """
    from fader.editing import figure

    shown = _to_show(pictures, dataset, split, count)
    aligned = _alignment(align, paste, face)
    _print_paths(
        figure.slide(model, shown, output, attribute, start, stop, steps, gif, separate, aligned, device, overwrite)
    )


def studio(
    models: Models = (),
    *,
    address: Address = "127.0.0.1",
    port: int = 8766,
    public_url: Annotated[str | None, arg(metavar="URL", help_behavior_hint="")] = None,
    browser: bool = True,
    device: Device = "auto",
) -> None:
    """Open the studio: a page in the browser with a fader for each attribute, for one's own pictures; until Ctrl-C.

    Args:
        models: Runs or models to choose among, named as for `evaluate`; by default portraits.
        address: Where to listen: by default this machine alone; 0.0.0.0 for everybody.
        port: Where to listen; 0 is any free port.
        public_url: How visitors reach it, if not by that address, as https://studio.example.org from a proxy before it.
        browser: Open the page; without, its link is only printed.
    """
    from fader.studio.serve import studio as serve_studio

    serve_studio(models, address, port, public_url, browser, device)


def study_create(
    models: Models,
    dataset: Annotated[Location, arg(metavar="DATASET")],
    output: Output,
    attributes: Annotated[
        tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: the first three that all models have)")
    ] = (),
    names: Annotated[
        tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: those of their folders)")
    ] = (),
    split: Split = "test",
    a_row: int = 100,
    raters: int = 10,
    zoom: float = 1.0,
    consent: Consent = None,
    seed: int = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Draw the pictures of Table 1 for raters: real ones, and each model's reconstructions and swaps, unnamed.

    Args:
        models: Runs or models, named as for `evaluate`.
        dataset: A dataset with the attributes of all models, or its URL.
        output: The study folder to write.
        attributes: What the tasks are of.
        names: What the table calls the models.
        split: Where the pictures are from.
        a_row: Pictures of each row of the table.
        raters: How many are wanted for each picture.
        zoom: How large the page shows the pictures; at 1 a pixel is a pixel, as in the paper.
        seed: Another one gives another order.
    """
    from fader.study.create import create

    print(
        create(
            models,
            dataset,
            output,
            attributes=attributes,
            names=names,
            split=split,
            a_row=a_row,
            raters=raters,
            zoom=zoom,
            consent=consent,
            seed=seed,
            device=device,
            overwrite=overwrite,
        )
    )


def study_serve(
    study: StudyFolder,
    address: Address = "127.0.0.1",
    port: int = 8765,
    public_url: Annotated[str | None, arg(metavar="URL", help_behavior_hint="")] = None,
) -> None:
    """Show raters the pictures, on a web page, until Ctrl-C; answers are on the disk when the page goes on.

    Args:
        study: A study folder.
        address: Where to listen: by default this machine alone; 0.0.0.0 for everybody.
        port: Where to listen; 0 is any free port.
        public_url: How raters reach it, if not by that address, as https://study.example.org from a proxy before it.
    """
    from fader.study.serve import serve

    serve(study, address, port, public_url)


def study_export(
    study: StudyFolder,
    output: Output,
    mturk: Annotated[str, arg(metavar="URL")],
    a_hit: int = 10,
    overwrite: Overwrite = False,
) -> None:
    """Write templates and batches for Mechanical Turk, with the pictures to put on a web server.

    Args:
        study: A study folder.
        output: The folder to write.
        mturk: Where Workers will find the pictures: https://example.org/pictures.
        a_hit: Pictures of a HIT.
    """
    from fader.study.turk import export

    print(export(study, output, mturk, a_hit, overwrite))


def study_import(study: StudyFolder, results: Annotated[Positional[Path], arg(metavar="RESULTS")]) -> None:
    """Take the answers of a result file of Mechanical Turk into a study.

    Args:
        study: A study folder.
        results: The CSV of a batch's results.
    """
    from fader.study.turk import import_results

    print(import_results(study, results))


def study_report(
    study: StudyFolder,
    output: Annotated[
        Path | None, arg(aliases=["-o"], metavar="PATH", help_behavior_hint="(default: STUDY/report)")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make Table 1 of the answers so far, with confidence intervals and the raters' agreement.

    Args:
        study: A study folder.
        output: The folder to write: report.json, report.md and answers.csv.
    """
    from fader.study.report import report

    print(report(study, output, overwrite))


def study_select(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    output: Output,
    dataset: OfDataset = None,
    count: int = 10,
    raters: int = 10,
    consent: Consent = None,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw the candidates of a run side by side for raters to choose from (end of section 4).

    Args:
        run: A run folder.
        output: The study folder to write.
        dataset: Where the run's dataset is, if it was moved.
        count: Training pictures to show, each with every attribute swapped.
        raters: How many are wanted for each picture.
        seed: Another one gives another order.
    """
    from fader.study.selection import select

    print(select(run, output, dataset, count, raters, consent, seed, overwrite))


def export_onnx(model: Model, output: Output, overwrite: Overwrite = False) -> None:
    """Write a model as ONNX graphs from bytes and fader values to bytes, checked against PyTorch.

    Args:
        model: A run or model folder.
        output: The folder to write.
    """
    from fader.export import onnx

    print(onnx.export_onnx(model, output, overwrite))


def export_web(
    models: Models,
    output: Output,
    runtime: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: npm fetches it)")] = None,
    pictures: Annotated[
        Path | None, arg(metavar="PATH", help_behavior_hint="(default: drawn portraits, of a model of those)")
    ] = None,
    count: int = 24,
    webgpu: Flag = False,
    cdn: Flag = False,
    overwrite: Overwrite = False,
) -> None:
    """Write the studio's page as files for any web server: the models compute in the browser, no picture leaves it.

    Args:
        models: Runs or models to choose among, named as for `evaluate`.
        output: The folder to write.
        runtime: The npm package onnxruntime-web of the right version: its folder or its .tgz.
        pictures: A folder or zip archive of pictures to start from.
        count: How many pictures to start from.
        webgpu: Decode on the GPU in browsers where that gives the same pictures.
        cdn: Have browsers load the runtime from jsDelivr instead of copying it (14 MB less; jsDelivr sees who visits).
    """
    from fader.export import web

    print(web.export_web(models, output, runtime, pictures, count, webgpu, cdn, overwrite))


def import_released(
    model: Annotated[Positional[Path], arg(metavar="MODEL.pth")],
    output: Output,
    classifier: Annotated[Path | None, arg(metavar="CLASSIFIER.pth", help_behavior_hint="")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Import a model that the paper's authors released.

    Args:
        model: Their file; no code in it is run.
        output: The model folder to write.
        classifier: A classifier of theirs, to estimate the labels of pictures with.
    """
    from fader.interop import released

    released.import_released(model, output, classifier, overwrite)
    print(output)


def info(folder: Annotated[Positional[Location], arg(metavar="FOLDER")], verify: Flag = False) -> None:
    """Say what a dataset, run, model or classifier folder holds.

    Args:
        folder: Any folder that fader wrote; or a dataset's URL, portraits (the model that comes with fader) or
            hf:user/model.
        verify: Read all of a dataset and compare it with its checksums.
    """
    from fader.info import describe

    print(describe(folder, verify))


def field_help(kind: type) -> dict[str, str]:
    """The docstrings of a dataclass's fields, by name, each on one line."""
    fields = parse_from_object(kind).params
    return {field.arg_name: " ".join(field.description.split()) for field in fields if field.description}


def _options(part: Any) -> Any:
    """The type of a dict with those fields of a part of the configuration that are given, and no others.

    The help is the field's docstring, the default that it shows is the part's value.
    """
    helps, hints = field_help(type(part)), get_type_hints(type(part))
    defaults = dataclasses.asdict(part) | dict.fromkeys(OF_DATASET, "the dataset's")
    if isinstance(part, NetworkConfig):
        defaults["layers"] = f"{part.layers} at {part.size} pixels, one more at twice the size"
    fields: dict[str, Any] = {
        name: Annotated[hint, arg(help=helps.get(name, ""), help_behavior_hint=f"(default: {defaults[name]})")]
        for name, hint in hints.items()
    }
    return TypedDict(type(part).__name__, fields, total=False)  # type: ignore[operator]


def _system_and_preset(arguments: Sequence[str]) -> tuple[str, str]:
    """The system and its preset that are named on the command line, found before the rest is parsed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--system", nargs="?")
    parser.add_argument("--preset", nargs="?")
    given = parser.parse_known_args(arguments)[0]
    system, presets = ("icgan", ICGAN_PRESETS) if given.system == "icgan" else ("fader", PRESETS)
    return system, given.preset if given.preset in presets else DEFAULT_PRESET


def _to_show(pictures: Sequence[Path], dataset: Path | str | None, split: str, count: int) -> Any:
    """What a figure is of: picture files, or a selection of a dataset."""
    from fader.editing.figure import Selection

    if bool(pictures) == (dataset is not None):
        raise UserError("Give pictures, or --dataset with a prepared dataset to take them from: one of the two.")
    return Selection(dataset, split, count) if dataset else pictures


def _alignment(align: bool, paste: bool, face: int | None) -> Any:
    """What to do about the faces in photos; None where they are taken as they are."""
    if not align and not paste:
        if face is not None:
            raise UserError("--face chooses among the faces that --align or --paste finds; add one of them.")
        return None
    from fader.editing.photos import Alignment

    return Alignment(1 if face is None else face, paste)


def _assignments(texts: Sequence[str]) -> dict[str, str]:
    """What NAME=VALUE of the command line says, by name."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or name in values:
            raise UserError(f"--set takes NAME=VALUE, once for each name, as in Smiling=1; {text!r} is none.")
        values[name] = value
    return values


def _print_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        print(path)
