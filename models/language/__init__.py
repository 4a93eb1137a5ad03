"""Causal language models: conversion, multiple choice, what each layer says, and the calibration direction."""
