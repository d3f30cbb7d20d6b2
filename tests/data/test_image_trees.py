import gzip
import io
import lzma
import tarfile
import zipfile

import pytest
import torch
from data_files import png, tree_files, write_folder, write_tar, write_zip
from PIL import Image

from mixscope.base.errors import UserError
from mixscope.data.image_tree import read_image_tree

CONTAINERS = ["folder", "set.zip", "set.tar", "set.tar.gz", "set.tgz", "set.tar.xz"]


def write_container(tmp_path, kind, files):
    if kind == "folder":
        return write_folder(tmp_path / kind, files)
    return write_zip(tmp_path / kind, files) if kind.endswith(".zip") else write_tar(tmp_path / kind, files)


@pytest.mark.parametrize("top", ["", "top/"])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_gives_the_same_set_in_sorted_order(tmp_path, kind, top):
    files = {top + name: content for name, content in tree_files().items()}
    decoded = read_image_tree(write_container(tmp_path, kind, files))
    assert decoded.class_names == ("ant", "cat")
    assert decoded.train.images[:, 0, 0, 0].tolist() == [7, 4, 1]
    assert decoded.train.images[0, :, 1, 2].tolist() == [7, 8, 9]
    assert decoded.train.images.shape == (3, 3, 2, 3)
    assert decoded.train.labels.tolist() == [0, 1, 1]
    assert decoded.test.images[:, 0, 0, 0].tolist() == [10, 13]
    assert decoded.test.labels.tolist() == [0, 1]


@pytest.mark.parametrize("top", ["", "top/", "train/"])
def test_classes_without_parts_have_no_test_part(tmp_path, top):
    files = {f"{top}cat/a.png": png(1, mode="L"), f"{top}ant/a.png": png(2, mode="L")}
    decoded = read_image_tree(write_folder(tmp_path, files))
    assert decoded.test is None
    assert decoded.class_names == ("ant", "cat")
    assert decoded.train.images[:, 0, 0, 0].tolist() == [2, 1]


def test_val_is_the_test_part_where_there_is_no_test(tmp_path):
    files = {name.replace("test/", "val/"): content for name, content in tree_files().items()}
    assert read_image_tree(write_folder(tmp_path, files)).test.labels.tolist() == [0, 1]


def test_val_is_left_out_where_there_is_a_test_part_and_the_notes_say_so(tmp_path):
    files = tree_files() | {"val/ant/x.png": png((99, 99, 99))}
    decoded = read_image_tree(write_folder(tmp_path, files))
    assert decoded.test.labels.tolist() == [0, 1]
    assert decoded.notes.endswith("val/ left out")


def test_hidden_files_and_files_that_are_no_images_are_left_out(tmp_path):
    files = tree_files() | {
        "README.txt": b"text",
        "train/ant/.hidden.png": b"no image",
        "__MACOSX/train/ant/._a.png": b"no image",
        ".git/a.png": b"no image",
        "train/labels.csv": b"text",
    }
    for kind in ("folder", "set.zip"):
        assert len(read_image_tree(write_container(tmp_path, kind, files)).train) == 3


def test_images_that_are_all_grey_have_one_channel(tmp_path):
    files = {"a/1.png": png(5, mode="L"), "b/1.png": png((6, 255), mode="LA"), "b/2.png": png(1, mode="1")}
    assert read_image_tree(write_folder(tmp_path, files)).train.images[:, :, 0, 0].tolist() == [[5], [6], [255]]


def test_grey_among_colour_is_repeated_over_three_channels(tmp_path):
    palette = Image.new("P", (3, 2), 0)
    palette.putpalette([9, 8, 7])
    stream = io.BytesIO()
    palette.save(stream, "PNG")
    files = {"a/1.png": png(5, mode="L"), "b/1.png": png((1, 2, 3, 0), mode="RGBA"), "b/2.png": stream.getvalue()}
    decoded = read_image_tree(write_folder(tmp_path, files))
    assert decoded.train.images[:, :, 0, 0].tolist() == [[5, 5, 5], [255, 255, 255], [9, 8, 7]]


def test_progress_counts_the_images(tmp_path):
    told = []
    read_image_tree(write_folder(tmp_path, tree_files()), progress=lambda *news: told.append(news))
    assert told == [("decoding images", 5, 5)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train/cat/b.png": png((1, 2, 3), size=(4, 2))},
            "all images must have one size, but train/cat/b.png is 4 x 2 and test/ant/a.png is 3 x 2",
        ),
        ({"train/cat/b.png": b"no image"}, "train/cat/b.png: not a readable image"),
        ({"train/cat/b.png": png((1, 2, 3))[:45]}, "train/cat/b.png: not a readable image"),
        (
            {"train/cat/b.png": png(1, mode="I;16")},
            "16-bit images must use their range, got no level above 1; save them with 8 bits",
        ),
        ({"train/cat/deep/b.png": png((1, 2, 3))}, "images must lie as .*; train/cat/deep/b.png does not"),
        (
            {"train/c/d/e.png": png(1), "test/c/d/e.png": png(1), "test/c/d/f.png": png(1)}
            | {f"train/z/{n}/{n}.png": png(1) for n in range(9)},
            "/[cz]/.* does not",
        ),
        ({"test/dog/a.png": png((1, 2, 3))}, "test/ has classes that train/ lacks: dog"),
    ],
)
def test_a_tree_that_makes_no_set_is_named_with_what_is_wrong(tmp_path, changes, message):
    path = write_folder(tmp_path, tree_files() | changes)
    with pytest.raises(UserError, match=message) as caught:
        read_image_tree(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_empty_class_folder_is_an_empty_class(tmp_path):
    write_folder(tmp_path, tree_files())
    (tmp_path / "train" / "dog").mkdir()
    with pytest.raises(UserError, match="no training image of class dog"):
        read_image_tree(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match="no images found; needed are files train/CLASS/FILE"):
        read_image_tree(tmp_path)


def test_images_of_a_test_part_alone_are_no_set(tmp_path):
    files = {"test/ant/a.png": png(1, mode="L"), "val/ant/a.png": png(1, mode="L")}
    with pytest.raises(UserError, match="no images under train/"):
        read_image_tree(write_folder(tmp_path, files))


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "train/../../x.png", "C:\\x.png", "..\\x.png"])
@pytest.mark.parametrize("kind", ["set.zip", "set.tar"])
def test_a_member_outside_the_archive_is_refused_by_name(tmp_path, kind, name):
    path = write_container(tmp_path, kind, tree_files() | {name: png(1)})
    with pytest.raises(UserError, match="points outside the archive; refusing to read it") as caught:
        read_image_tree(path)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_a_tar_archive_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("train/ant/link.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(UserError, match=r"member 'train/ant/link\.png' is a link"):
        read_image_tree(path)


def test_a_device_in_a_tar_archive_is_refused_by_name(tmp_path):
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("train/ant/null.png")
        info.type = tarfile.CHRTYPE
        archive.addfile(info)
    with pytest.raises(UserError, match=r"member 'train/ant/null\.png' is not a plain file"):
        read_image_tree(path)


def test_a_link_in_a_zip_archive_is_refused_by_name(tmp_path):
    info = zipfile.ZipInfo("train/ant/link.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match=r"member 'train/ant/link\.png' is a link"):
        read_image_tree(tmp_path / "set.zip")


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "set.tar"
    write_tar(path, {"a/1.png": png(1, mode="L"), "./a/1.png": png(2, mode="L")})
    with pytest.raises(UserError, match=r"member 'a/1\.png' is in the archive twice"):
        read_image_tree(path)


@pytest.mark.parametrize("kind", CONTAINERS[1:])
def test_an_archive_cut_off_anywhere_is_damaged_and_never_a_smaller_set(tmp_path, kind):
    path = write_container(tmp_path, kind, tree_files())
    content = path.read_bytes()
    step = 256 if kind == "set.tar" else max(1, len(content) // 40)
    used = 10 * 512 if kind == "set.tar" else len(content)  # then comes the padding of zeros
    for length in range(0, used, step):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"damaged or incomplete archive|cannot be read"):
            read_image_tree(path)


@pytest.mark.parametrize("kind", ["set.tar.gz", "set.tar.xz", "set.zip"])
def test_an_archive_with_a_flipped_byte_is_never_read_as_if_whole(tmp_path, kind):
    path = write_container(tmp_path, kind, tree_files())
    content = bytearray(path.read_bytes())
    expected = read_image_tree(path)
    end = content.find(b"PK\x01\x02") if kind == "set.zip" else len(content)  # a zip's directory has no checksum
    for place in range(20, end, 7):
        damaged = content.copy()
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            decoded = read_image_tree(path)
        except UserError:
            continue
        assert torch.equal(decoded.train.images, expected.train.images)  # a byte that means nothing, such as a date


def test_a_tar_with_a_damaged_header_is_damaged_and_does_not_end_there(tmp_path):
    path = write_tar(tmp_path / "set.tar", tree_files())
    content = bytearray(path.read_bytes())
    content[1024 + 148] ^= 0xFF  # the checksum of the second header
    for name, compress in (("set.tar", bytes), ("set.tar.gz", gzip.compress), ("set.tar.xz", lzma.compress)):
        (tmp_path / name).write_bytes(compress(content))
        with pytest.raises(UserError, match=r"set\.tar.*: damaged or incomplete archive"):
            read_image_tree(tmp_path / name)


@pytest.mark.parametrize("kind", CONTAINERS[1:])
def test_a_file_that_is_no_archive_is_named(tmp_path, kind):
    path = tmp_path / kind
    path.write_bytes(b"plain text " * 200)
    with pytest.raises(UserError, match=f"{kind}: damaged or incomplete archive"):
        read_image_tree(path)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "set.zip", {"a/1.png": png(1)})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag in the local header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"member 'a/1\.png' is encrypted; give an archive without password"):
        read_image_tree(path)
