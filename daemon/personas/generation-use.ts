/**
 * SQL: true for a generation `g` of slot `s` that the slot still needs: it is active, it is what a rollback would go
 * back to (the newest good one before the active one), or something still holds its tree.
 */
export const neededGenerations = `g.number = s.current
         OR g.number = (SELECT max(e.number) FROM generations e
                         WHERE e.slot = s.name AND e.number < s.current AND e.result = 'good')
         OR EXISTS (SELECT 1 FROM uppers u
                     WHERE u.id = g.upper AND u.state IN ('active', 'draining'))`;
