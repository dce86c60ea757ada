/**
 * What every metadata store promises. Run by metadata-store.test.ts for each implementation. The parts by noun are in
 * metadata-topics.ts, -leases.ts, -flushes.ts, -merges.ts, -sweeps.ts, -hints.ts, -groups.ts and -keys.ts.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { flushContract } from "./metadata-flushes.ts";
import { groupLifeContract } from "./metadata-group-life.ts";
import { groupContract } from "./metadata-groups.ts";
import { hintContract } from "./metadata-hints.ts";
import { keyContract } from "./metadata-keys.ts";
import { leaseContract } from "./metadata-leases.ts";
import { membershipContract } from "./metadata-membership.ts";
import { mergeContract } from "./metadata-merges.ts";
import { code, type MetadataSubject } from "./metadata-subject.ts";
import { sweepContract } from "./metadata-sweeps.ts";
import { topicContract } from "./metadata-topics.ts";

/** How the contract gets a metadata store to look at. */
export interface MetadataContractSubject {
  /** An empty store. */
  readonly create: () => Promise<MetadataSubject>;
  readonly cleanUp?: () => Promise<void>;
}

/** Declares the tests that every MetadataStore must pass, for `node:test` on any runtime. */
export function metadataStoreContract(name: string, contract: MetadataContractSubject): void {
  describe(`metadata store contract: ${name}`, () => {
    let subject: MetadataSubject;
    before(async () => {
      subject = await contract.create();
    });
    after(async () => {
      await subject.metadata.close();
      await contract.cleanUp?.();
    });
    const get = () => subject;
    topicContract(get);
    leaseContract(get);
    flushContract(get);
    mergeContract(get);
    sweepContract(get);
    hintContract(get);
    membershipContract(get);
    groupLifeContract(get);
    groupContract(get);
    keyContract(get);

    it("refuses everything once it is closed, and closes twice", async () => {
      const { metadata } = await contract.create();
      await metadata.close();
      await metadata.close();
      await assert.rejects(metadata.listTopics(), code("CLOSED"));
      await assert.rejects(metadata.allocateProducerId(), code("CLOSED"));
    });
  });
}
