/**
 * The oxlint plugin that holds every import against the table of layers (layers.ts).
 *
 * A plugin and not `no-restricted-imports`, because that rule matches the text of an import and not the file it leads to:
 * `../b/x.ts` is a neighbour or another system depending on where it stands. Static, dynamic and re-exporting imports and
 * `import('x').Type` are all seen; an import whose name is computed is refused where a layer applies, since nobody can judge it.
 */
import path from 'node:path';
import { judgeImport, judgePlace } from './layers.ts';

/** The little of ESTree that is looked at. */
interface SyntaxNode {
  readonly type: string;
  readonly importKind?: string;
  readonly exportKind?: string;
  readonly source?: { readonly value?: unknown } | null;
}

interface RuleContext {
  readonly cwd: string;
  readonly filename: string;
  report(finding: { readonly node: SyntaxNode; readonly message: string }): void;
}

const layersRule = {
  create(context: RuleContext) {
    const file = path.relative(context.cwd, context.filename).split(path.sep).join('/');
    const judge = (node: SyntaxNode, isTypeOnly: boolean): void => {
      if (node.source === null || node.source === undefined) return;
      const specifier = node.source.value;
      const message = judgeImport(file, typeof specifier === 'string' ? specifier : null, isTypeOnly);
      if (message !== null) context.report({ node, message });
    };
    return {
      Program(node: SyntaxNode) {
        const message = judgePlace(file);
        if (message !== null) context.report({ node, message });
      },
      ImportDeclaration: (node: SyntaxNode) => judge(node, node.importKind === 'type'),
      ExportNamedDeclaration: (node: SyntaxNode) => judge(node, node.exportKind === 'type'),
      ExportAllDeclaration: (node: SyntaxNode) => judge(node, node.exportKind === 'type'),
      ImportExpression: (node: SyntaxNode) => judge(node, false),
      TSImportType: (node: SyntaxNode) => judge(node, true),
    };
  },
};

export default { meta: { name: 'holdfast' }, rules: { layers: layersRule } };
