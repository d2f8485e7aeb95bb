/**
 * Map nodes as they are stored: canonical bytes, then a locator (24 bytes) for each child that is there.
 *
 * The locators are hints beside the node and no part of its fingerprint: a collector may move a child without the map
 * changing. Where a hint fails, the index knows.
 */
import { MAP_FANOUT } from '../../domain/limits.ts';
import { HoldfastError } from '../../domain/errors.ts';
import { childOf, decodeNode, fingerprintOf, isAbsent } from '../map/node.ts';
import type { NodeView } from '../map/walk.ts';
import { LOCATION_BYTES, writeLocation, type Location } from './location.ts';

/** The blob of a node: its canonical bytes and what is known of where its children lie. */
export function nodeBlob(bytes: Buffer, children: Buffer, locate: (slot: number, fingerprint: Buffer) => Location | null): Buffer {
  const locators: Buffer[] = [bytes];
  for (let i = 0; i < MAP_FANOUT; i++) {
    const fingerprint = childOf(children, i);
    if (isAbsent(fingerprint)) continue;
    const row = Buffer.alloc(LOCATION_BYTES);
    const location = locate(i, fingerprint);
    if (location) writeLocation(row, 0, location);
    locators.push(row);
  }
  return Buffer.concat(locators);
}

/** Parses a stored node and checks that it is the one asked for. */
export function parseNodeBlob(blob: Buffer, fingerprint: Buffer, level: number): NodeView {
  const node = decodeNode(blob);
  if (node.level !== level || !fingerprintOf(blob.subarray(0, node.sizeBytes)).equals(fingerprint))
    throw new HoldfastError('DAMAGED', 'a map node is not the one that its name says', { fingerprint: fingerprint.toString('hex'), level });
  const locations = Buffer.alloc(MAP_FANOUT * LOCATION_BYTES);
  node.present.forEach((slot, i) => {
    const at = node.sizeBytes + i * LOCATION_BYTES;
    if (at + LOCATION_BYTES <= blob.length) locations.set(blob.subarray(at, at + LOCATION_BYTES), slot * LOCATION_BYTES);
  });
  return { children: node.children, locations };
}
