// Draws every figure of the page and keeps its text and rules in step with the reader's light or dark theme.
(function () {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { displayModeBar: false, responsive: true };
  const holders = Array.from(document.querySelectorAll(".figure"));

  function theme(layout) {
    const read = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const patch = {
      "font.color": read("--ink"),
      "hoverlabel.bgcolor": read("--sheet"),
      "hoverlabel.bordercolor": read("--rule"),
      "hoverlabel.font.color": read("--ink"),
    };
    Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key)).forEach((axis) => {
      patch[axis + ".gridcolor"] = patch[axis + ".linecolor"] = read("--rule");
      patch[axis + ".title.font.color"] = read("--quiet");
    });
    return patch;
  }

  holders.forEach((holder) => {
    const figure = JSON.parse(document.getElementById(holder.id + "-data").textContent);
    Plotly.newPlot(holder, figure.data, figure.layout, config).then(() => Plotly.relayout(holder, theme(figure.layout)));
  });
  dark.addEventListener("change", () => holders.forEach((holder) => Plotly.relayout(holder, theme(holder.layout))));
})();
