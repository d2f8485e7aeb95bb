/**
 * Connect's decimals, of any length: the unscaled number in base64, big-endian, as `12.50`. A function of the DuckDB session, for SQL
 * knows no numbers of that size.
 */
import { DuckDBScalarFunction, INTEGER, VARCHAR } from '@duckdb/node-api';

const SCALE_MAX = 20_000;

/** Null when it is not exactly that. */
function decimalText(base64: string, scale: number): string | null {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length === 0 || bytes.toString('base64') !== base64 || Math.abs(scale) > SCALE_MAX) return null;
  const unsigned = BigInt(`0x${bytes.toString('hex')}`);
  const negative = ((bytes[0] ?? 0) & 0x80) !== 0;
  const digits = (negative ? (1n << BigInt(bytes.length * 8)) - unsigned : unsigned).toString();
  const sign = negative ? '-' : '';
  if (scale <= 0) return digits === '0' ? '0' : `${sign}${digits}${'0'.repeat(-scale)}`;
  const padded = digits.padStart(scale + 1, '0');
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`;
}

/** `decimal_text(base64, scale)`. */
export const decimalFunction = (): DuckDBScalarFunction =>
  DuckDBScalarFunction.create({
    name: 'decimal_text',
    parameterTypes: [VARCHAR, INTEGER],
    returnType: VARCHAR,
    // A null argument never gets here: its result is null.
    mainFunction: (_, input, output) => {
      const [texts, scales] = [input.getColumnValues(0), input.getColumnValues(1)];
      for (let row = 0; row < input.rowCount; row++) {
        const [text, scale] = [texts[row], scales[row]];
        output.setItem(row, typeof text === 'string' && typeof scale === 'number' ? decimalText(text, scale) : null);
      }
      output.flush();
    },
  });
