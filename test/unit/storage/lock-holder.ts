/** A process that holds a data folder until it dies, or until its standard input ends. Says `held` or the error's code. */
import process from "node:process";
import { StreamHouseError } from "../../../src/core/errors.ts";
import { type DataFolder, openDataFolder } from "../../../src/storage/folder-lock.ts";

let folder: DataFolder | undefined;
try {
  folder = await openDataFolder(process.argv[2] ?? "", { waitMs: 0 });
  console.log("held");
} catch (error) {
  console.log(StreamHouseError.is(error) ? error.code : String(error));
}
process.stdin.on("end", () => {
  folder?.release();
  process.exit(0);
});
process.stdin.resume();
