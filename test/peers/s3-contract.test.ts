/**
 * The S3 store on a real S3 server: the contract that memory and folder keep too, with every way in which it sends and reads. Nothing
 * here runs against imitations: those ignore `If-None-Match`.
 */
import { after, before } from "node:test";
import { type Radosgw, startRadosgw } from "../../scripts/backends/radosgw.ts";
import { createS3Store, type S3StoreOptions } from "../../src/storage/s3.ts";
import { objectStoreContract } from "../../src/testing/contracts/object-store.ts";

let server: Radosgw;
before(async () => {
  server = await startRadosgw();
});
after(() => server.stop());

let stores = 0;
function open(options: Partial<S3StoreOptions> = {}) {
  const { bucket, endpoint, region } = server;
  const prefix = `contract/${++stores}`;
  return createS3Store({}, { bucket, prefix, endpoint, region, credentials: server, ...options });
}

objectStoreContract("s3", { create: async () => open() });
