"""Tables: what each kind of column becomes, and the sentence where it cannot be an attribute."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from fader.attributes import BINARY
from fader.datasets import tables
from fader.datasets.tables import CHUNK, MISSING, Table, parse_table, read_table
from fader.errors import UserError
from tests.refusals import refusal


def table(folder: Path, text: str | bytes, name: str = "labels.csv", file_column: str | None = None) -> Table:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(path, file_column)


def column(folder: Path, values: Sequence[str], name: str = "Hat") -> Table:
    return table(folder, f"file,{name}\n" + "".join(f"{i}.jpg,{value}\n" for i, value in enumerate(values)))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["0", "1", "1"], [0, 1, 1]),
        (["-1", "1", " 1 "], [0, 1, 1]),
        (["True", "FALSE", "true"], [1, 0, 1]),
        (["yes", "No", "YES"], [1, 0, 1]),
        (["1.0", "0.0", "1"], [1, 0, 1]),
        (["-1", "-1", "-1"], [0, 0, 0]),
        (["no", "1", "0"], [0, 1, 0]),
    ],
)
def test_columns_of_two_truths_are_binary_attributes(tmp_path: Path, values: list[str], labels: list[int]) -> None:
    schema, found, ignored = column(tmp_path, values).attributes(None)
    assert [(attribute.name, attribute.values) for attribute in schema] == [("Hat", BINARY)]
    assert found[:, 0].tolist() == labels
    assert found.dtype == np.uint8
    assert ignored == []


def test_columns_of_names_are_attributes_with_these_values_in_order(tmp_path: Path) -> None:
    hair = ["red", "black", "Red", "black", "red", "red"]
    schema, labels, _ = column(tmp_path, hair).attributes(None)
    assert schema.attributes[0].values == ("Red", "black", "red")
    assert labels[:, 0].tolist() == [2, 1, 0, 1, 2, 2]
    schema, labels, _ = column(tmp_path, ["no", "maybe", "yes", "no", "no", "no"]).attributes(None)
    assert schema.attributes[0].values == ("maybe", "no", "yes")
    assert labels[:, 0].tolist() == [1, 0, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["0", "1", "2"], "has the number 2 in row 4; labels are 0/1, -1/1, true/false, yes/no or names"),
        (["0.25", "1", "0"], "has the number 0.25 in row 2"),
        (["0", "-1", "1"], "both 0 and -1"),
        (["a", "a", "a"], "has only the value 'a'"),
        (["", "nan", "N/A"], "is empty"),
        ([f"text {i}" for i in range(300)], "has more than 255 different values"),
        (["a\x1b", "b", "a\x1b", "b"], "control characters"),
    ],
)
def test_other_columns_are_no_attributes(tmp_path: Path, values: list[str], reason: str) -> None:
    found = column(tmp_path, values)
    with pytest.raises(UserError, match=reason) as caught:
        found.attributes(["Hat"])
    assert str(caught.value).startswith(f"{tmp_path / 'labels.csv'}: column 'Hat' cannot be an attribute: ")
    with pytest.raises(UserError, match=f"no column can be an attribute.*{reason}"):
        found.attributes(None)


def test_a_slip_among_labels_is_an_error_even_if_nobody_chose_the_column(tmp_path: Path) -> None:
    found = column(tmp_path, ["0", "1", "O", "1"])
    for chosen in (None, ["Hat"]):
        with pytest.raises(UserError, match="column 'Hat' cannot be an attribute: it has 'O' in row 4 among numbers"):
            found.attributes(chosen)


def test_columns_that_cannot_be_attributes_are_ignored_with_the_reason_where_none_is_chosen(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,{i % 2},{i},word {i},{'' if i == 3 else 1},{'train,' if i < 9 else 'test,'}" for i in range(12)]
    found = table(tmp_path, "file,Hat,class_id,caption,Gappy,Split,\n" + "\n".join(rows))
    schema, labels, ignored = found.attributes(None)
    assert schema.names == ("Hat",)
    assert labels.shape == (12, 1)
    assert ignored == [
        "Column 'class_id' is ignored: it has the number 2 in row 4; labels are 0/1, -1/1, true/false, yes/no or"
        " names.",
        "Column 'caption' is ignored: it has 12 different values; name it with --attributes if they are categories.",
        "Column 'Gappy' is ignored: it has no value in row 5; named with --attributes, it leaves out the pictures"
        " without one.",
    ]
    assert found.attributes(["caption"])[0].code_size == 12


def test_missing_labels_are_marked(tmp_path: Path) -> None:
    _, labels, _ = column(tmp_path, ["1", "", "0", "NaN"]).attributes(["Hat"])
    assert labels[:, 0].tolist() == [1, MISSING, 0, MISSING]
    _, labels, _ = column(tmp_path, ["b", "", "a", "null"]).attributes(["Hat"])
    assert labels[:, 0].tolist() == [1, MISSING, 0, MISSING]


def test_attributes_come_in_the_order_they_are_chosen_in(tmp_path: Path) -> None:
    found = table(tmp_path, "file,A,B,C\nx,0,1,1\ny,1,0,1\n")
    schema, labels, ignored = found.attributes(["C", "A"])
    assert schema.names == ("C", "A")
    assert labels.tolist() == [[1, 0], [1, 1]]
    assert ignored == []
    with pytest.raises(UserError, match="no column 'D' of labels; there are A, B, C"):
        found.attributes(["D"])


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.txt", "\t")])
def test_separators(tmp_path: Path, name: str, separator: str) -> None:
    rows = [["file", "Hat", "a note"], ["x,1.jpg", "1", "0"], ["y;2.jpg", "0", "1"]]
    text = "\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    found = table(tmp_path, text, name)
    assert found.names == ["x,1.jpg", "y;2.jpg"]
    assert list(found.columns) == ["Hat", "a note"]


def test_byte_order_mark_blank_rows_and_windows_line_ends(tmp_path: Path) -> None:
    found = table(tmp_path, "\ufefffile,Hat\r\n\r\na,1\r\n,\r\nb,0\r\n\r\n")
    assert found.names == ["a", "b"]
    assert found.attributes(None)[1].tolist() == [[1], [0]]


def test_the_file_column_can_be_chosen_and_nameless_columns_are_passed_over(tmp_path: Path) -> None:
    text = ",Hat,path\n0,1,a.jpg\n1,0,b.jpg\n"
    found = table(tmp_path, text, file_column="path")
    assert found.names == ["a.jpg", "b.jpg"]
    assert found.attributes(None)[0].names == ("Hat",)
    with pytest.raises(UserError, match="no column 'file'; there are Hat, path"):
        table(tmp_path, text, file_column="file")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the table is empty"),
        ("\n\n", "the table is empty"),
        ("file,Hat\n", "a header but no rows"),
        ("file,Hat,Hat\na,1,0\n", "two columns are named 'Hat'"),
        ("file,Hat\na,1\nb\n", "row 3 has 1 cells and the header 2"),
        ("file,Hat\na,1\n\nb,1,0\n", "row 4 has 3 cells"),
        ("file,Hat\na,1\n,0\n", "row 3 names no file in column 'file'"),
        ("file,Hat\na,1\nb,0\na,0\n", "row 4 names 'a' again, after row 2"),
        ("file,Ha\x07t\na,1\n", "line breaks or control characters"),
        ('file,Hat\n"a,1\nb,0\n', "not a sound CSV"),
        ("file\na\nb\n", "no column can be an attribute"),
        (b"file,Hat\n\xff\xfe,1\n", "not a text file in UTF-8"),
        ("file,Hat\na,1\n".encode("utf-16"), "not a text file in UTF-8"),
        (b"PK\x03\x04" + bytes(range(256)), "not a text file in UTF-8"),
        ("file,Hat\n" + "a" * 200_000 + ",1\n", "not a sound CSV"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        table(tmp_path, text).attributes(None)
    assert str(caught.value).startswith(f"{tmp_path / 'labels.csv'}: ")
    with pytest.raises(UserError, match="there is no such table"):
        read_table(tmp_path / "missing.csv")


def test_splits(tmp_path: Path) -> None:
    words = ["train", "Training", "valid", "VAL", "validation", "test", "0", "1", "2"]
    found = column(tmp_path, words, "Split")
    assert found.split_column == "Split"
    assert found.splits("Split").tolist() == [0, 0, 1, 1, 1, 2, 0, 1, 2]
    assert column(tmp_path, ["1"]).split_column is None
    for wrong in ("", "holdout"):
        with pytest.raises(UserError, match=f"column 'split' has '{wrong}' in row 3; a split is train, valid or test"):
            column(tmp_path, ["train", wrong], "split").splits("split")


def test_long_tables_are_read_in_parts_that_do_not_show(tmp_path: Path) -> None:
    count = 2 * CHUNK + 5
    hair = ["red", "black", " red "]
    lines = [f"{i}.jpg,{hair[i % 3]},{'?' if i > CHUNK else 1 - i % 2}\n" for i in range(count)]
    found = table(tmp_path, "file,Hair,Hat\n" + "".join(lines))
    schema, labels, _ = found.attributes(["Hair"])
    assert schema.attributes[0].values == ("black", "red")
    assert labels[:, 0].tolist() == [(1, 0, 1)[i % 3] for i in range(count)]
    assert found.names == [f"{i}.jpg" for i in range(count)]
    with pytest.raises(UserError, match=rf"'\?' in row {CHUNK + 3} among numbers"):
        found.attributes(["Hat"])
    with pytest.raises(UserError, match=rf"row {count + 2} names '1.jpg' again, after row 3"):
        table(tmp_path, "file,Hair,Hat\n" + "".join([*lines, "1.jpg,red,1\n"]))


def test_cells_take_a_byte_each(tmp_path: Path) -> None:
    found = column(tmp_path, ["0", "1"] * 500)
    assert len(found.columns["Hat"].codes) == 1000


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "labels.parquet"
    columns = {
        "file": ["a", "b", "c", "d"],
        "Hat": [True, False, None, True],
        "Beard": [1, -1, 1, 1],
        "Old": [0.0, 1.0, 1.0, 0.0],
        "Hair": ["red", "black", "red", "black"],
        "split": ["train", "valid", "test", "train"],
    }
    parquet.write_table(pyarrow.table(columns), path)
    found = read_table(path)
    assert found.names == ["a", "b", "c", "d"]
    _, labels, _ = found.attributes(["Hat", "Beard", "Old", "Hair"])
    assert labels.T.tolist() == [[1, 0, MISSING, 1], [1, 0, 1, 1], [0, 1, 1, 0], [1, 0, 1, 0]]
    assert found.splits("split").tolist() == [0, 1, 2, 0]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_table(path)
    # Of a type that Parquet has and the reader does not make text of: no error of its own may pass.
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", lambda *_: _raise(pyarrow.ArrowNotImplementedError("odd")))
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(UserError, match=r"labels\.parquet: it cannot be read as Parquet \(odd\)"):
        read_table(path)


@pytest.mark.parametrize(
    ("kind", "most"),
    [("date32", 2**31 - 1), ("timestamp[s]", 2**50), ("time64[us]", 2**62), ("duration[s]", 2**62), ("date64", 2**62)],
)
def test_times_in_parquet_that_python_has_not(tmp_path: Path, kind: str, most: int) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    size = arrow.int32() if kind == "date32" else arrow.int64()
    when = arrow.array([1, most], size).view(kind if kind != "date64" else arrow.timestamp("us", "No/Where"))
    parquet.write_table(arrow.table({"file": ["a", "b"], "when": when}), tmp_path / "labels.parquet")
    message = refusal(lambda: read_table(tmp_path / "labels.parquet"))
    assert "labels.parquet: it cannot be read as Parquet" in message


def test_parquet_that_claims_far_more_than_it_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "labels.parquet"
    monkeypatch.setattr(tables, "FREE_ROWS", 1000)
    kept = {"use_dictionary": False, "compression": "zstd"}
    parquet.write_table(arrow.table({"file": np.arange(10**5)}), path, column_encoding="DELTA_BINARY_PACKED", **kept)
    assert path.stat().st_size < 2000
    assert "save the table as CSV" in refusal(lambda: read_table(path))
    parquet.write_table(arrow.table({"file": list(map(str, range(50_000)))}), path)  # As large as its rows are many.
    assert len(read_table(path).names) == 50_000
    monkeypatch.setattr(tables, "ROWS_A_BYTE", 0)
    wide = {f"a{k}": np.zeros(1000, bool) for k in range(tables.FREE_COLUMNS)}
    for names, said in ((list(wide)[1:], None), (list(wide), "save the table as CSV")):
        columns = {"file": np.arange(1000), **{name: wide[name] for name in names}}
        parquet.write_table(arrow.table(columns), path, compression="zstd")
        if said:
            assert said in refusal(lambda: read_table(path))
        else:
            assert len(read_table(path).columns) == len(names)


def test_a_long_text_in_many_rows_of_parquet_is_held_once(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    long, path = "long " * 200_000, tmp_path / "labels.parquet"
    with parquet.ParquetWriter(path, arrow.schema([("file", arrow.string()), ("text", arrow.string())])) as writer:
        column = arrow.DictionaryArray.from_arrays(arrow.array([0, None] * 500), [long])
        writer.write_table(arrow.table({"file": list(map(str, range(1000))), "text": column.cast(arrow.string())}))
    header, *rows = tables._parquet_rows(path)
    assert header == ["file", "text"]
    assert [row[1] for row in rows] == [long, ""] * 500
    assert len({id(row[1]) for row in rows}) == 2


def test_a_chunk_of_parquet_that_swells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "MAX_CHUNK_BYTES", 100_000)
    lists = arrow.array([["x" * 1000]] * 200)
    parquet.write_table(arrow.table({"file": np.arange(200), "list": lists}), tmp_path / "labels.parquet")
    assert "save the table as CSV" in refusal(lambda: read_table(tmp_path / "labels.parquet"))


def _raise(error: Exception) -> NoReturn:
    raise error


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "labels.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"pip install 'fader-networks\[parquet\]'"):
        read_table(tmp_path / "labels.parquet")


def test_a_header_of_very_many_columns_is_looked_through_once() -> None:
    compared = 0

    class Name(str):
        __hash__ = str.__hash__

        def strip(self, *_: object) -> "Name":
            return self

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    names: list[str] = [Name(f"c{k}") for k in range(1000)]
    found = parse_table(iter([names, ["1"] * 1000]), "wide.csv")
    assert len(found.columns) == 999
    assert compared < 10 * len(names)
