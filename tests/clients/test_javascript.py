"""The AWS SDK for JavaScript, which encodes and decodes by a model of its own."""

import json
import pathlib
import shutil

from harness.process import TOOLS, MissingTool, clean_environment, run

SCRIPTS = pathlib.Path(__file__).parent / "javascript"


def test_an_image_is_pushed_and_read(server, tmp_path):
    modules = TOOLS / "javascript" / "node_modules"
    if not modules.exists():
        raise MissingTool("the AWS SDK for JavaScript is not installed: run `make tools`")
    script = shutil.copy(SCRIPTS / "images.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    env = clean_environment({**server.client_environment(), "HOME": tmp_path})
    said = json.loads(run(["node", script, server.url, "javascript/images"], env=env, cwd=tmp_path).stdout)
    message = "The repository with name 'javascript/images' does not exist in the registry with id '123456789012'"
    assert said["missing"] == {"typed": True, "message": message}
    assert said["again"] == "ImageAlreadyExistsException"
    assert said["layer"]["layerAvailability"] == "AVAILABLE"
    assert said["layer"]["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
    assert said["failures"] == ["ImageNotFound"]
    assert [sorted(tags) for tags in said["details"]] == [["one", "three", "two"]]
    assert [len(page) for page in said["tags"]] == [2, 1] and sorted(sum(said["tags"], [])) == ["one", "three", "two"]
    assert said["downloaded"] == "the layer"
    assert (said["manifest"], said["created"], said["expires"], said["user"]) == (True, True, True, "AWS")
