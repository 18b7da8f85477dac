// Renders what pymdownx.arithmatex marked as a formula. Without JavaScript, the LaTeX source is shown.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const source = element.textContent.trim(); // \(...\) or \[...\]
    const options = { displayMode: source.startsWith("\\["), throwOnError: false };
    katex.render(source.slice(2, -2), element, options);
  }
});
