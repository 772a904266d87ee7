"""`pupil augment`."""

from pathlib import Path

import click

from pupil_training.commands import one_line_errors


@click.command(
    short_help="Show what a recipe's augmentation makes of your images.",
    epilog="\b\nExample:\n  pupil augment digits_teacher demo/data/test/3 augment.randaugment=2 --output preview.png",
)
@click.argument("recipe")
@click.argument("words", nargs=-1, required=True, metavar="IMAGE… [KEY=VALUE]…")
@click.option("--output", type=click.Path(path_type=Path), default="preview.png", show_default=True, help="A PNG file.")
@click.option("--epochs", type=click.IntRange(1, 100), default=8, show_default=True, help="How many views an image.")
@click.option("--first", type=click.IntRange(1, 100), default=4, show_default=True, help="How many images of a folder.")
def augment(recipe: str, words: tuple[str, ...], output: Path, epochs: int, first: int) -> None:
    """Show what a recipe's augmentation makes of your own images, epoch by epoch.

    A row an image: as the net sees it without augmentation, then its views; below them the strong views
    of the pool, where the recipe has such. An IMAGE may be a folder; key=value overrides the recipe's settings.
    """
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    with one_line_errors():
        from pupil_training.files import written_whole
        from pupil_training.preview import find_images, preview
        from pupil_training.recipe import load_recipe

        settings = load_recipe(recipe, overrides)
        images = find_images([Path(word) for word in words if word not in overrides], first)
        if output.suffix.lower() != ".png":
            raise click.ClickException(f"{output}: a preview is a PNG file; give it a name that ends in .png")
        sheet = preview(settings, images, epochs)
        with written_whole(output) as file:
            sheet.save(file, "PNG")
    click.echo(output)
