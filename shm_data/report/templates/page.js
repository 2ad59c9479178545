"use strict";
// data-show on the parent chooses what the cards show; the style sheet does the rest.
const dialog = document.querySelector("dialog");
const stage = dialog.querySelector(".frame");
const about = dialog.querySelector(".about");
const large = dialog.querySelector(".switch");
let row = [], current = 0;

function choose(group, target, show) {
  target.dataset.show = show;
  for (const button of group.children) button.setAttribute("aria-pressed", button.dataset.to === show);
}

function enlarge(index) {
  current = (index + row.length) % row.length;
  const figure = row[current], small = figure.querySelector(".frame");
  stage.replaceChildren(...[...small.children].map((layer) => layer.cloneNode(true)));
  stage.style.cssText = small.style.cssText + figure.style.cssText;
  about.replaceChildren(...[...figure.querySelector("dl").children].map((line) => line.cloneNode(true)));
}

for (const button of document.querySelector("main .switch").children) large.append(button.cloneNode(true));
for (const group of document.querySelectorAll(".switch")) {
  const target = group === large ? stage : group.nextElementSibling;
  group.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(group, target, button.dataset.to);
  });
}
for (const grid of document.querySelectorAll(".grid")) {
  grid.addEventListener("click", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame) return;
    row = [...grid.querySelectorAll("figure")];
    choose(large, stage, grid.dataset.show);
    enlarge(row.indexOf(frame.parentElement));
    for (const step of dialog.querySelectorAll(".step")) step.hidden = row.length < 2;
    dialog.showModal();
  });
}
dialog.addEventListener("click", (event) => {
  const step = event.target.closest(".step");
  if (step) enlarge(current + Number(step.dataset.by));
  else if (event.target === dialog || event.target.closest(".close")) dialog.close();
});
dialog.addEventListener("keydown", (event) => {
  const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (by) enlarge(current + by);
});
