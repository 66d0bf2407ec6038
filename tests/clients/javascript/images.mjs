// Pushes an image and reads it back by the AWS SDK for JavaScript. Prints what came back as JSON.
// Its arguments are the endpoint and the repository; the key comes from the environment.

import { createHash } from "node:crypto";
import {
  BatchCheckLayerAvailabilityCommand,
  BatchGetImageCommand,
  CompleteLayerUploadCommand,
  CreateRepositoryCommand,
  DeleteRepositoryCommand,
  DescribeImagesCommand,
  ECRClient,
  GetAuthorizationTokenCommand,
  GetDownloadUrlForLayerCommand,
  InitiateLayerUploadCommand,
  paginateListImages,
  PutImageCommand,
  RepositoryNotFoundException,
  UploadLayerPartCommand,
} from "@aws-sdk/client-ecr";

const [endpoint, repositoryName] = process.argv.slice(2);
const client = new ECRClient({ endpoint, region: "us-east-1", maxAttempts: 1 });
const send = (Command, members) => client.send(new Command({ repositoryName, ...members }));
const digestOf = (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

const refusal = async (Command, members) => {
  try {
    await send(Command, members);
  } catch (error) {
    return error;
  }
  throw new Error("the request succeeded");
};

const pushLayer = async (bytes) => {
  const { uploadId } = await send(InitiateLayerUploadCommand);
  const part = { partFirstByte: 0, partLastByte: bytes.length - 1, layerPartBlob: bytes };
  await send(UploadLayerPartCommand, { uploadId, ...part });
  const done = await send(CompleteLayerUploadCommand, { uploadId, layerDigests: [digestOf(bytes)] });
  return { digest: done.layerDigest, size: bytes.length };
};

const missing = await refusal(DescribeImagesCommand);
const { repository } = await send(CreateRepositoryCommand);
const config = await pushLayer(Buffer.from("{}"));
const layer = await pushLayer(Buffer.from("the layer"));
const imageManifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
  layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", ...layer }],
});
for (const imageTag of ["one", "two", "three"]) {
  await send(PutImageCommand, { imageManifest, imageTag });
}
const again = await refusal(PutImageCommand, { imageManifest, imageTag: "one" });
const checked = await send(BatchCheckLayerAvailabilityCommand, { layerDigests: [layer.digest] });
const got = await send(BatchGetImageCommand, { imageIds: [{ imageTag: "two" }, { imageTag: "none" }] });
const { imageDetails } = await send(DescribeImagesCommand);
const tags = [];
for await (const page of paginateListImages({ client, pageSize: 2 }, { repositoryName })) {
  tags.push(page.imageIds.map((id) => id.imageTag));
}
const { downloadUrl } = await send(GetDownloadUrlForLayerCommand, { layerDigest: layer.digest });
const downloaded = await (await fetch(downloadUrl)).text();
const token = (await client.send(new GetAuthorizationTokenCommand({}))).authorizationData[0];
await send(DeleteRepositoryCommand, { force: true });

console.log(
  JSON.stringify({
    missing: { typed: missing instanceof RepositoryNotFoundException, message: missing.message },
    again: again.name,
    created: repository.createdAt instanceof Date,
    layer: checked.layers[0],
    manifest: got.images[0].imageManifest === imageManifest,
    failures: got.failures.map((one) => one.failureCode),
    details: imageDetails.map((one) => one.imageTags),
    tags,
    downloaded,
    user: Buffer.from(token.authorizationToken, "base64").toString().split(":")[0],
    expires: token.expiresAt instanceof Date,
  }),
);
