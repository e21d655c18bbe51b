package main

import (
	"fmt"
	"slices"
	"strings"
)

// check returns one line for each import against the table, in the order of packages; none means all is well.
// packages are those of module and, for the rule about Kubernetes, all that they depend on.
func check(packages []pkg, module string) []string {
	graph := make(map[string]pkg, len(packages))
	for _, p := range packages {
		graph[p.ImportPath] = p
	}
	var faults []string
	for _, p := range packages {
		path, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours {
			continue
		}
		from, ok := family(path)
		if !ok {
			faults = append(faults, fmt.Sprintf("%s: no line of the table matches this folder; add one, with what it may import", path))
			continue
		}
		for _, imported := range p.Imports {
			if target, ours := strings.CutPrefix(imported, module+"/"); ours && !allowed(from, target) {
				faults = append(faults, fmt.Sprintf("%s imports %s: may import %s", path, target, permitted(from)))
			}
		}
		if onNode(from.root) {
			if chain := chainToKubernetes(graph, p.ImportPath, map[string]bool{}); chain != nil {
				faults = append(faults, fmt.Sprintf("%s links Kubernetes: %s", path, strings.Join(chain, " -> ")))
			}
		}
	}
	return faults
}

// group is a family of packages: the pattern of the table that they match and the folder that it matched.
type group struct{ pattern, root string }

// family finds the longest pattern that matches path or a folder above it; a literal element beats a star.
func family(path string) (group, bool) {
	best, bestRank := group{}, 0
	for _, e := range table {
		if root, ok := match(e.from, path); ok {
			if rank := 2*len(strings.Split(root, "/")) - strings.Count(e.from, "*"); rank > bestRank {
				best, bestRank = group{e.from, root}, rank
			}
		}
	}
	return best, bestRank > 0
}

// match returns the leading elements of path that pattern stands for.
func match(pattern, path string) (root string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(have) < len(want) {
		return "", false
	}
	for i, element := range want {
		if element != "*" && element != have[i] {
			return "", false
		}
	}
	return strings.Join(have[:len(want)], "/"), true
}

// allowed tells whether the table lets the family from import target.
func allowed(from group, target string) bool {
	to, ok := family(target)
	if !ok {
		return true // the target itself is reported
	}
	return to.root == from.root || slices.ContainsFunc(targets(from), func(pattern string) bool {
		root, ok := match(pattern, target)
		return ok && root == to.root
	})
}

func targets(from group) []string {
	i := slices.IndexFunc(table, func(e edge) bool { return e.from == from.pattern })
	return table[i].to
}

func permitted(from group) string {
	if to := targets(from); len(to) > 0 {
		return strings.Join(to, ", ")
	}
	return "nothing of this module"
}

func onNode(root string) bool {
	return slices.ContainsFunc(nodeSide, func(pattern string) bool {
		matched, ok := match(pattern, root)
		return ok && matched == root
	})
}

// chainToKubernetes returns the imports that lead from path to Kubernetes, or nil when none does.
func chainToKubernetes(graph map[string]pkg, path string, seen map[string]bool) []string {
	seen[path] = true
	for _, next := range graph[path].Imports {
		if slices.ContainsFunc(kubernetes, func(prefix string) bool { return strings.HasPrefix(next, prefix) }) {
			return []string{path, next}
		}
		if seen[next] {
			continue
		}
		if rest := chainToKubernetes(graph, next, seen); rest != nil {
			return append([]string{path}, rest...)
		}
	}
	return nil
}
