"""Mechanical Turk: a study as templates and batches for it, and its results back.

A HIT has several pictures of one task, and is wanted from as many Workers as the study wants raters.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import html
import io
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from fader.errors import UserError
from fader.files import new_folder, refuse_existing, write_text
from fader.study.answers import Answer, open_answers
from fader.study.folder import PICTURES, Study, Task, open_study

A_HIT = 10  # Pictures.
MOST_BYTES = 2**28  # Of a result file.
ABOUT = "README.md"
# No names of the study can be mistaken for Mechanical Turk's own ${variables}: their $ are escaped.
TEMPLATE = Template("""<!-- Mechanical Turk: Create > New Project > Other > Design Layout > Source; see README.md. -->
<script src="https://assets.crowd.aws/crowd-html-elements.js"></script>
<style>
  body { font: 16px/1.5 sans-serif; max-width: 44rem; margin: 1rem auto; padding: 0 1rem; }
  .examples { display: flex; flex-wrap: wrap; gap: 1rem; }
  figure { margin: 0; text-align: center; }
  fieldset { border: 0; border-top: 1px solid #ccc; padding: 1rem 0; }
  img { background: #808080; padding: 1rem; }
  label { display: inline-block; padding: 0.5rem 1rem 0.5rem 0; }
</style>
<crowd-form answer-format="flatten-objects">
  <p><strong>$question</strong></p>
$examples$items</crowd-form>
""")
README = Template("""# Mechanical Turk

Each task of the study is a project of its own: `task-N.html` is its template, `task-N.csv` its batch. Where its
pictures do not fill the last HIT, those left are one project more: `task-N-rest.html` and `task-N-rest.csv`.

1. Put the folder `pictures` where the address that the batches name leads: $url
2. On requester.mturk.com make a project for each template (Create, New Project, Other) and paste the template as the
   source of the design. Ask for $raters assignments a HIT, from different Workers (that is the default).
3. Publish each project's batch with its CSV.
4. When it is done, download each batch's results and read them in: fader study import STUDY Batch_N_results.csv

Pay fairly and say so: look at how long a HIT takes you.
""")


def export(folder: Path, output: Path, pictures_url: str, a_hit: int = A_HIT, overwrite: bool = False) -> str:
    """Write templates, batches and pictures for Mechanical Turk into a folder; return what was written.

    Args:
        folder: A study folder.
        output: The folder to write.
        pictures_url: The address (https) at which Workers will find its folder `pictures`.
        a_hit: Pictures of a HIT.
        overwrite: Whether an older export may be replaced.

    Raises UserError on an unusable address, and of a study of candidates, which shows several pictures at once.
    """
    study = open_study(folder)
    url = urlsplit(pictures_url)
    if url.scheme != "https" or not url.netloc or url.query or url.fragment or re.search(r"[\s\"'<>$]", pictures_url):
        raise UserError(f"{pictures_url!r} is no address for pictures; give one such as https://example.org/pictures.")
    if a_hit < 1:
        raise UserError("A HIT has 1 picture at least.")
    if any(item.choices for task in study.tasks for item in task.items):
        raise UserError(f"{folder}: a study of candidates is for your own raters; serve it.")
    shown = [item.picture for task in study.tasks for item in task.items]
    shown += [example.picture for task in study.tasks for example in task.examples]
    missing = [name for name in shown if not study.picture(name).is_file()]
    if missing:
        raise UserError(f"{study.picture(missing[0])}: this picture of the study is not there any more; put it back.")
    refuse_existing(output, overwrite, ABOUT)
    base = pictures_url.rstrip("/")
    with new_folder(output, overwrite, ABOUT) as temporary:
        for task in study.tasks:
            # A batch is of HITs of one form, so the last HIT of one that does not come out even is a batch of its own.
            whole = len(task.items) // a_hit * a_hit
            for name, first, last in (("", 0, whole), ("-rest", whole, len(task.items))):
                if first < last:
                    together = min(a_hit, last - first)
                    write_text(temporary / f"{task.id}{name}.html", template(task, together, base))
                    write_text(temporary / f"{task.id}{name}.csv", batch(task, first, last, together))
        shutil.copytree(folder / PICTURES, temporary / PICTURES)
        write_text(temporary / ABOUT, README.substitute(url=base, raters=study.raters))
    return f"{output}: templates and batches of {len(study.tasks)} tasks; {ABOUT} says how to go on."


def template(task: Task, together: int, base: str) -> str:
    """The HTML of a HIT of so many pictures, in which Mechanical Turk replaces ${picture_1} and so on."""
    examples = "".join(
        f'    <figure><img src="{base}/{example.picture}.png" alt="">'
        f"<figcaption>{_escaped(task.options[example.option])}</figcaption></figure>\n"
        for example in task.examples
    )
    items = []
    for number in range(1, together + 1):
        options = "".join(
            f'    <label><input type="radio" name="answer_{number}" value="{k}" required> {_escaped(option)}</label>\n'
            for k, option in enumerate(task.options)
        )
        picture = f"{base}/${{picture_{number}}}.png"
        items.append(f'  <fieldset>\n    <img src="{picture}" alt="Picture {number}"><br>\n{options}  </fieldset>\n')
    return TEMPLATE.substitute(
        question=_escaped(task.question),
        examples=f'  <div class="examples">\n{examples}  </div>\n' if examples else "",
        items="".join(items),
    )


def batch(task: Task, first: int, last: int, together: int) -> str:
    """The CSV of a batch: a line a HIT, with the names of its pictures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"picture_{number}" for number in range(1, together + 1)])
    for start in range(first, last, together):
        writer.writerow([item.picture for item in task.items[start : start + together]])
    return text.getvalue()


def import_results(folder: Path, file: Path) -> str:
    """Take the answers of a result file of Mechanical Turk into a study; return what was taken.

    Rejected assignments are left out. What was imported before is not imported twice. A Worker becomes a number that
    does not lead back to it without the study's secret.

    Raises UserError, with nothing taken, if anything in the file does not fit the study.
    """
    study = open_study(folder)
    with open_answers(study) as answers:
        secret = answers.secret()
        found = list(_read(study, file, secret))
        if not found:
            raise UserError(f"{file}: there is no answer in it; give the CSV that 'Download CSV' of a batch saves.")
        new = answers.store_all(found)
    raters = len({one.rater for one in found})
    return f"{file}: {len(found):,} answers of {raters} Workers, {new:,} of them new."


def _read(study: Study, file: Path, secret: str) -> Iterator[Answer]:
    by_picture = {item.picture: (task, item) for task in study.tasks for item in task.items}
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"{file}: {size:,} bytes are over the limit of {MOST_BYTES:,} of a result file.")
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            header = reader.fieldnames or []
            numbers = [name.removeprefix("Input.picture_") for name in header if name.startswith("Input.picture_")]
            columns = {number: _answer_columns(number, header) for number in numbers}
            needed = {"WorkerId": "WorkerId" in header}
            needed |= {f"Answer.answer_{number}": bool(found) for number, found in columns.items()}
            missing = [name for name, there in needed.items() if not there]
            if not numbers or missing:
                raise UserError(
                    f"{file}: the column {missing[0] if missing else 'Input.picture_1'} is missing; give the results of"
                    " a batch that 'fader study export' made."
                )
            for row in reader:
                where = f"{file}, line {reader.line_num}"
                if (row.get("AssignmentStatus") or "").strip().lower() == "rejected":
                    continue
                worker = (row["WorkerId"] or "").strip()
                if not worker or None in row or None in row.values():
                    raise UserError(f"{where}: it has no WorkerId, or too few or too many cells.")
                rater = hmac.new(secret.encode(), worker.encode(), hashlib.sha256).hexdigest()[:32]
                for number in numbers:
                    picture, given = row[f"Input.picture_{number}"].strip(), _answer(row, columns[number])
                    if picture not in by_picture:
                        raise UserError(f"{where}: {picture[:40]!r} is no picture of this study.")
                    task, item = by_picture[picture]
                    if not re.fullmatch("[0-9]{1,3}", given) or int(given) >= task.answers(item):
                        raise UserError(
                            f"{where}: {given[:40]!r} is no answer; there are 0 to {task.answers(item) - 1}."
                        )
                    yield Answer(rater, task.id, item.id, int(given))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: it cannot be read as CSV ({error}).") from None


def _answer_columns(number: str, header: Sequence[str]) -> dict[str, str]:
    """The columns of an answer, each with the option that it is of; one for the number of the option has none.

    Radio buttons come back as a column each that says true or false, or as one with the button's value.
    """
    name = f"Answer.answer_{number}"
    return {column: column[len(name) + 1 :] for column in header if column == name or column.startswith(f"{name}.")}


def _answer(row: dict[str, str], columns: dict[str, str]) -> str:
    """The answer in a line: the number of an option, as text; of no option or of several it is none."""
    if "" in columns.values():
        return row[next(column for column, option in columns.items() if not option)].strip()
    return ",".join(option for column, option in columns.items() if row[column].strip().lower() == "true")


def _escaped(text: str) -> str:
    return html.escape(text).replace("$", "&#36;")
