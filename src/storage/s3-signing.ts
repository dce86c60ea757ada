/**
 * Whether a body's hash goes into its request's signature. Over TLS it need not: the connection authenticates the bytes, and a service
 * that knows CRC-32C checks them. Over plain HTTP nothing else would show that they were changed on the way, on services that know
 * no checksums. Called for every request with a body of ours.
 */
import type { PutObjectCommand, UploadPartCommand } from "@aws-sdk/client-s3";
import type { S3Requests } from "./s3-requests.ts";

const HEADER = "x-amz-content-sha256";

/** Puts the header in, which the SDK's signer then takes as it is; it would send a stream unsigned otherwise. */
export async function signBody(
  { client, signBodies }: S3Requests,
  command: PutObjectCommand | UploadPartCommand,
  parts: readonly Uint8Array[],
): Promise<void> {
  const value = signBodies ? await sha256(new client.config.sha256(), parts) : "UNSIGNED-PAYLOAD";
  // Their stacks differ in the types of what goes in and out, of which nothing is touched here.
  const stack = command.middlewareStack as PutObjectCommand["middlewareStack"];
  stack.add(
    (next) => (args) => {
      (args.request as { headers: Record<string, string> }).headers[HEADER] = value;
      return next(args);
    },
    { step: "build", name: "streamhouseBodyHash", override: true },
  );
}

interface Hash {
  update(bytes: Uint8Array): void;
  digest(): Promise<Uint8Array>;
}

async function sha256(hash: Hash, parts: readonly Uint8Array[]): Promise<string> {
  for (const part of parts) hash.update(part);
  const bytes = await hash.digest();
  return Array.from(bytes, (it) => it.toString(16).padStart(2, "0")).join("");
}
