/**
 * Gives the memory of a buffer back, if it is all of it. Transferring to no length is how the language says that. Left to the
 * garbage collector, 1 GiB/s of buffers has it mark the whole heap ten times a second: a third of a restore's work. Whoever frees one
 * must have been the last to use it: it is empty afterwards.
 */
export function freeBuffer(buffer: Uint8Array): void {
  if (buffer.buffer instanceof ArrayBuffer && buffer.byteLength === buffer.buffer.byteLength) buffer.buffer.transfer(0);
}

/** The bytes in a buffer of their own, which may be moved: these, or a copy where they are a part of another buffer. */
export function inOwnBuffer(bytes: Buffer): Buffer<ArrayBuffer> {
  if (bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength) return Buffer.from(bytes.buffer);
  const own = Buffer.from(new ArrayBuffer(bytes.length));
  own.set(bytes);
  return own;
}
