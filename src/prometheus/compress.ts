/** Gzip of a text in chunks, by the platform's own streams: off the main thread where the runtime does it so. */

export type Chunks = readonly Uint8Array<ArrayBuffer>[];

/** Below this the header alone costs more than it saves, in bytes. */
const gzipBytesMin = 1_024;

/** Whether it is worth it, and whether this platform can. */
export function canGzip(chunks: Chunks): boolean {
  return byteLength(chunks) >= gzipBytesMin && typeof CompressionStream === "function";
}

export function byteLength(chunks: Chunks): number {
  let bytes = 0;
  for (const chunk of chunks) bytes += chunk.length;
  return bytes;
}

export async function gzip(chunks: Chunks): Promise<Chunks> {
  const { readable, writable } = new CompressionStream("gzip");
  const writing = writeAll(writable.getWriter(), chunks);
  // Whatever goes wrong is seen where the result is read.
  writing.catch(() => {});
  const compressed: Uint8Array<ArrayBuffer>[] = [];
  const reader = readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    compressed.push(value);
  }
  await writing;
  return compressed;
}

async function writeAll(
  writer: WritableStreamDefaultWriter<BufferSource>,
  chunks: Chunks,
): Promise<void> {
  for (const chunk of chunks) await writer.write(chunk);
  await writer.close();
}
