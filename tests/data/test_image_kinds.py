"""Files and folders that users brought: orientation, transparency, depth, formats, spellings, a test part alone."""

import io
import unicodedata

import numpy as np
import pytest
import torch
from data_files import png, tree_files, write_folder, write_tar, write_zip
from PIL import Image

from mixscope.base.errors import UserError
from mixscope.data.batches import EvaluationBatches
from mixscope.data.geometry import Geometry
from mixscope.data.image_tree import read_image_tree
from mixscope.data.loading import load_data
from mixscope.data.mapped import forget_pages, take_rows
from mixscope.data.npz import read_npz
from mixscope.data.tree_layout import part_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXSCOPE_CACHE", str(tmp_path / "cache"))


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixels_of(tmp_path, content, *, size, **options):
    """The first training image of a folder that holds it and a white one of the same size."""
    other = png((255, 255, 255), size=size)
    decoded = read_image_tree(write_folder(tmp_path / "set", {"a/x": content, "b/x": other}), **options)
    return decoded.train.images[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path, kind, orientation):
    corners = np.zeros((32, 32, 3), np.uint8)
    corners[:16, :16], corners[:16, 16:], corners[16:, :16] = 250, 170, 90
    upright = Image.fromarray(corners)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's numbers of what undoes the turn
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    seen = pixels_of(tmp_path, encoded(stored, kind, exif=exif, **options), size=(32, 32))
    assert np.abs(seen.astype(int) - corners).max() <= 12  # JPEG


def test_damaged_exif_data_do_not_spoil_an_image(tmp_path):
    content = encoded(Image.new("RGB", (8, 8), (9, 9, 9)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pixels_of(tmp_path, content, size=(8, 8)).shape == (8, 8, 3)


def clear_left(mode):
    """Two pixels, the left one transparent and both black underneath, in every way that PNG says so."""
    if mode in ("RGBA", "LA"):
        image = Image.new(mode, (2, 1), (0,) * (len(mode) - 1) + (255,))
        image.putpixel((0, 0), (0,) * len(mode))
        return encoded(image)
    image = Image.new(mode, (2, 1), (0, 0, 1) if mode == "RGB" else 1)
    image.putpixel((0, 0), (0, 0, 0) if mode == "RGB" else 0)
    if mode == "P":
        image.putpalette([0, 0, 0, 0, 0, 1])
    return encoded(image, transparency=(0, 0, 0) if mode == "RGB" else 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "L", "1", "P"])
@pytest.mark.parametrize(("ground", "level"), [("white", 255), ("black", 0), ("100", 100)])
def test_transparency_is_put_on_the_ground(tmp_path, mode, ground, level):
    seen = pixels_of(tmp_path, clear_left(mode), size=(2, 1), geometry=Geometry(background=ground))
    assert seen[0, 0].tolist() == [level] * 3
    assert seen[0, 1, 0] == (255 if mode == "1" else 1 if mode == "L" else 0)


def test_glyphs_on_a_transparent_ground_differ_and_the_notes_count_them(tmp_path):
    files = {}
    for number in range(2):
        glyph = Image.new("LA", (4, 4), (0, 0))
        glyph.putpixel((number, number), (0, 255))
        files[f"{'ab'[number]}/x.png"] = encoded(glyph)
    decoded = read_image_tree(write_folder(tmp_path / "set", files))
    assert not torch.equal(decoded.train.images[0], decoded.train.images[1])
    assert "2 with transparency on white" in decoded.notes
    assert decoded.cautions == ("2 images with transparency are put on white (--background)",)
    assert decoded.train.images.shape[1] == 1
    red = read_image_tree(tmp_path / "set", geometry=Geometry(background="#ff0000"))
    assert red.train.images[0, :, 3, 3].tolist() == [255, 0, 0]


def test_white_glyphs_on_white_are_refused_with_the_ground_that_shows_them(tmp_path):
    glyph = Image.new("LA", (4, 4), (255, 0))
    glyph.putpixel((1, 1), (255, 255))
    path = write_folder(tmp_path / "set", {f"{name}/x.png": encoded(glyph) for name in "ab"})
    with pytest.raises(UserError, match=r"nothing shows of the 2 images .* on white; try background black$"):
        read_image_tree(path)
    assert read_image_tree(path, geometry=Geometry(background="black")).train.images.max() == 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled(tmp_path, kind):
    levels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    seen = pixels_of(tmp_path, encoded(Image.fromarray(levels), kind), size=(5, 1))
    assert seen[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_dark_16_bit_images_are_told(tmp_path):
    image = encoded(Image.fromarray(np.array([[0, 4095]], np.uint16)))
    decoded = read_image_tree(write_folder(tmp_path / "set", {"a/x.png": image, "b/x.png": image}))
    assert decoded.cautions == ("16-bit images are dark: their brightest level is 4,095 of 65,535",)


@pytest.mark.parametrize("name", ["x.jfif", "x", "x.PNG", "x.txt"])
@pytest.mark.parametrize("kind", ["folder", "set.zip", "set.tar"])
def test_images_are_told_by_their_content(tmp_path, name, kind):
    files = {f"{folder}/{name}": encoded(Image.new("RGB", (4, 4)), "JPEG") for folder in "ab"}
    write = {"folder": write_folder, "set.zip": write_zip, "set.tar": write_tar}[kind]
    assert len(read_image_tree(write(tmp_path / kind, files)).train) == 2


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize("kind", ["folder", "set.zip", "set.tar"])
def test_what_is_left_out_is_counted_and_images_of_other_formats_are_told(tmp_path, kind):
    files = tree_files() | {
        "train/cat/1.heic": HEIC,
        "train/cat/2.heic": HEIC,
        "train/cat/a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "labels.csv": b"a,b",
        "Thumbs.db": b"BM and so on",
        ".DS_Store": b"",
    }
    write = {"folder": write_folder, "set.zip": write_zip, "set.tar": write_tar}[kind]
    path = write(tmp_path / kind, files)
    for _ in range(2):  # decoded, and from the cache
        data = load_data(path)
        assert "; 6 files left out (2 .heic, 1 .csv, 1 .db, 1 .svg, 1 others)" in data.notes
        assert data.cautions == ("3 image files were left out (2 .heic, 1 .svg): convert to PNG or JPEG to use them",)


def test_a_heic_photo_called_jpg_is_named_with_its_format(tmp_path):
    path = write_folder(tmp_path / "set", tree_files() | {"train/cat/b.jpg": HEIC})
    with pytest.raises(UserError, match=r"b\.jpg: not a readable image \(HEIC, none of PNG, "):
        read_image_tree(path)


def test_photos_of_different_sizes_are_scaled_where_a_size_is_given(tmp_path):
    files = {"a/1.png": png((1, 2, 3), size=(30, 20)), "b/1.png": png((4, 5, 6), size=(17, 41))}
    path = write_folder(tmp_path / "set", files)
    with pytest.raises(UserError, match=r"all images must have one size, .* give an image size .*--image-size 224"):
        read_image_tree(path)
    decoded = read_image_tree(path, geometry=Geometry((8, 9), resize=12))
    assert decoded.train.images.shape == (2, 3, 8, 9)
    assert decoded.notes == "2 images of set of 2 sizes: shorter side to 12, centre 8 x 9, bilinear"


def test_another_geometry_is_another_entry_of_the_cache(tmp_path):
    files = {f"{name}/{i}.png": png(i, size=(12, 10), mode="L") for name in "ab" for i in range(3)}
    path = write_folder(tmp_path / "set", files)
    assert load_data(path).image_shape == (1, 10, 12)
    assert load_data(path, geometry=Geometry((5, 6))).image_shape == (1, 5, 6)
    assert load_data("digits", geometry=Geometry((16, 16))).image_shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((name, "train") for name in ("train", "Training", "training_set", "TRAIN", "train-data")),
        *((name, "val") for name in ("val", "valid", "validation", "dev", "eval", "Validation_Set")),
        *((name, "test") for name in ("test", "testing", "test_set", "Test")),
        *((name, None) for name in ("trainer", "value", "cats", "testes", "")),
    ],
)
def test_parts_in_the_usual_spellings(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize(("train", "test"), [("Training", "valid"), ("training_set", "test_set"), ("train", "dev")])
def test_other_spellings_are_read(tmp_path, train, test):
    files = {name.replace("train/", f"{train}/").replace("test/", f"{test}/"): c for name, c in tree_files().items()}
    decoded = read_image_tree(write_folder(tmp_path / "set", files))
    assert (len(decoded.train), len(decoded.test)) == (3, 2)


def test_an_unused_part_is_counted(tmp_path):
    decoded = read_image_tree(write_folder(tmp_path / "set", tree_files() | {"valid/ant/x.png": png((9, 9, 9))}))
    assert decoded.notes.endswith("1 image of valid/ left out")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/a/x", "Training/a/x", "test/a/x"], "Training/ and train/ are one part in two spellings"),
        (["train/1.png", "train/2.png", "test/1.png"], "test/, train/ must hold one folder per class, got images"),
    ],
)
def test_parts_that_cannot_be_told_are_refused(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        read_image_tree(write_tar(tmp_path / "set.tar", {name: png(1) for name in files}))


def test_a_class_is_one_whatever_the_form_of_its_name(tmp_path):
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    files = {f"train/{apart}/1.png": png(1), "train/b/1.png": png(2), f"test/{composed}/1.png": png(3)}
    decoded = read_image_tree(write_tar(tmp_path / "set.tar", files))
    assert decoded.class_names == ("b", composed)
    assert decoded.test.labels.tolist() == [1]
    both = read_image_tree(write_tar(tmp_path / "two.tar", files | {f"train/{composed}/1.png": png(4)}))
    assert both.train.labels.tolist() == [0, 1, 1]
    assert "differ only in Unicode form" in both.notes


def test_class_names_that_are_numbers_are_said_to_be_in_the_order_of_text(tmp_path):
    decoded = read_image_tree(write_folder(tmp_path / "set", {f"{name}/1.png": png(1) for name in ("0", "2", "10")}))
    assert decoded.class_names == ("0", "10", "2")
    assert "classes are in the order of text: label 1 is '10'" in decoded.notes


def test_a_class_with_one_image_is_named(tmp_path):
    files = {"cat/1.png": png(1), "dog/1.png": png(2), "dog/2.png": png(3), "dog/3.png": png(3)}
    with pytest.raises(UserError, match="class 'cat' has 1 example; a split needs at least 2"):
        load_data(write_folder(tmp_path / "set", files), test_size=2)


@pytest.mark.parametrize("name", ["set", "set.tar"])
def test_a_test_part_alone_is_taken_where_that_is_allowed(tmp_path, name):
    files = {f"valid/{kind}/{i}.png": png((i, 0, 0)) for kind in ("cat", "dog") for i in range(2)}
    path = (write_tar if name.endswith("tar") else write_folder)(tmp_path / name, files)
    with pytest.raises(UserError, match=r"no images under train/; .* `mixscope measure` takes a test part alone"):
        load_data(path)
    data = load_data(path, allow_test_only=True)
    assert not data.has_train
    assert (data.train_images.shape, data.train_labels.shape) == ((0, 3, 2, 3), (0,))
    assert data.test_labels.tolist() == [0, 0, 1, 1]
    assert (data.image_shape, data.num_classes) == ((3, 2, 3), 2)
    assert data.channel_mean[0] == pytest.approx(0.5 / 255)
    assert "those of the test images" in data.notes
    assert not data.to("cpu").has_train
    with pytest.raises(UserError, match="there are no training images to take 2 of"):
        data.subset(2, generator=torch.Generator())
    with pytest.raises(UserError, match="no images under train/"):
        load_data(path)  # though the cache has it now


def test_a_folder_of_classes_called_val_is_a_test_part(tmp_path):
    files = {f"{kind}/{i}.png": png((i, 0, 0)) for kind in ("cat", "dog") for i in range(5)}
    path = write_folder(tmp_path / "val", files)
    assert len(load_data(path, allow_test_only=True).test_images) == 10
    assert len(load_data(path).test_images) == 2


def test_npz_files_as_others_write_them(tmp_path):
    images, labels = np.arange(48, dtype=np.uint8).reshape(4, 3, 4), np.array([[0], [1], [0], [1]])
    arrays = {f"{part}_{kind}": {"images": images, "labels": labels}[kind] for part in ("train", "val", "test")
              for kind in ("images", "labels")}  # fmt: skip
    np.savez(tmp_path / "medmnist.npz", **arrays)
    decoded = read_npz(tmp_path / "medmnist.npz")
    assert decoded.train.labels.tolist() == [0, 1, 0, 1]
    assert decoded.notes.endswith("val_images left out")
    arrays |= {"train_labels": np.eye(2)[labels[:, 0]], "test_labels": labels[:, 0].astype(float)}
    arrays["train_images"] = images / 255 + (images == 47) * (1 - 47 / 255)
    del arrays["val_images"]
    np.savez(tmp_path / "floats.npz", **arrays)
    decoded = read_npz(tmp_path / "floats.npz")
    assert decoded.train.labels.tolist() == decoded.test.labels.tolist() == [0, 1, 0, 1]
    assert torch.equal(decoded.train.images[0], decoded.test.images[0])
    np.savez(tmp_path / "test.npz", test_images=images, test_labels=labels)
    with pytest.raises(UserError, match="no array named train_images, train_labels"):
        load_data(tmp_path / "test.npz")
    assert not load_data(tmp_path / "test.npz", allow_test_only=True).has_train


def test_large_sets_stay_on_the_disk_and_keep_what_is_written_to_them(tmp_path, monkeypatch):
    monkeypatch.setattr("mixscope.data.mapped.LARGE_BYTES", 100)
    images = torch.arange(1200, dtype=torch.uint8).view(100, 3, 2, 2)
    rows = torch.arange(99, -1, -3)
    taken = take_rows(images, rows)
    assert torch.equal(taken, images[rows])
    assert list((tmp_path / "cache" / "decoded").iterdir()) == []  # the file has no name
    taken[3] = 77
    forget_pages(taken)
    assert taken[3].unique().tolist() == [77]
    batches = EvaluationBatches(taken, torch.zeros(34, dtype=torch.int64), batch_size=5, mean=[0] * 3, std=[1] * 3)
    assert torch.equal((torch.cat([inputs for inputs, _ in batches]) * 255).round().byte(), taken)


def test_the_first_frame_of_an_animation_is_taken_and_that_is_said(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    files = {f"{name}/x.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]) for name in "ab"}
    decoded = read_image_tree(write_folder(tmp_path / "set", files))
    assert decoded.train.images[0, :, 0, 0].tolist() == [255, 0, 0]
    assert "2 animated, first frame taken" in decoded.notes


def test_a_folder_too_deep_to_be_looked_into_is_counted(tmp_path):
    files = {"a/1.png": png(1), "b/1.png": png(2), "a/c/d/e/f/g.png": png(3)}
    decoded = read_image_tree(write_folder(tmp_path / "set", files))
    assert "1 file left out (1 folder too deep)" in decoded.notes


def test_the_disk_is_asked_for_room_with_the_first_image(tmp_path, monkeypatch):
    monkeypatch.setattr("mixscope.data.pixel_store.free_bytes", lambda _: 1000)
    path = write_folder(tmp_path / "set", {f"{name}/1.png": png(1, size=(20, 20)) for name in "ab"})
    with pytest.raises(UserError, match=r"2 images decoded need 4,800 bytes in .*, got 1,000 bytes free; free some"):
        load_data(path)
    assert not (tmp_path / "cache").exists()
